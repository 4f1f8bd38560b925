//! JSON as Kea writes and reads it: with comments of three kinds and commas too many, and with the place of every
//! value, which the usual reader does not keep.

use super::text::{Spot, shown};

/// Lists and objects within each other; real files have about ten.
const DEEPEST: usize = 64;

#[derive(Debug, PartialEq)]
pub struct Node {
    pub at: Spot,
    pub value: Value,
}

#[derive(Debug, PartialEq)]
pub enum Value {
    /// Anything that is neither text nor made of parts, as it stands there.
    Plain(Vec<u8>),
    Text(Vec<u8>),
    List(Vec<Node>),
    Object(Vec<(Spot, Vec<u8>, Node)>),
}

impl Node {
    pub fn get(&self, key: &[u8]) -> Option<&Node> {
        self.fields().iter().find(|(_, name, _)| name == key).map(|(_, _, node)| node)
    }

    pub fn fields(&self) -> &[(Spot, Vec<u8>, Node)] {
        match &self.value {
            Value::Object(fields) => fields,
            _ => &[],
        }
    }

    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The text of a text; none of it is none.
    pub fn text(&self) -> Option<&[u8]> {
        match &self.value {
            Value::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }
}

/// Where reading ended, and what was expected there.
pub type Broken = (Spot, String);

pub fn read(bytes: &[u8]) -> Result<Node, Broken> {
    let mut reader = Reader { rest: bytes, at: Spot::START };
    let node = reader.node(0)?;
    reader.gap()?;
    match reader.rest.first() {
        None => Ok(node),
        Some(_) => Err(reader.expected("the end of the file")),
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    at: Spot,
}

impl Reader<'_> {
    fn skip(&mut self, count: usize) {
        let (gone, rest) = self.rest.split_at_checked(count).unwrap_or((self.rest, &[]));
        self.at = self.at.past(gone);
        self.rest = rest;
    }

    fn expected(&self, what: &str) -> Broken {
        let line = self.rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let found = if self.rest.is_empty() { "the end of the file".to_owned() } else { format!("{:?}", shown(line)) };
        (self.at, format!("expected {what}, found {found}"))
    }

    /// Spaces and comments.
    fn gap(&mut self) -> Result<(), Broken> {
        loop {
            match self.rest {
                [byte, ..] if byte.is_ascii_whitespace() => self.skip(1),
                [b'#', ..] | [b'/', b'/', ..] => {
                    self.skip(self.rest.iter().position(|byte| *byte == b'\n').unwrap_or(self.rest.len()));
                }
                [b'/', b'*', ..] => {
                    let behind = self.rest.get(2..).unwrap_or_default();
                    let Some(end) = behind.windows(2).position(|pair| pair == b"*/") else {
                        return Err((self.at, "the comment does not end; expected */".to_owned()));
                    };
                    self.skip(end + 4);
                }
                [b'<', b'?', ..] => {
                    return Err((self.at, "an included file: join the files first, its text is not here".to_owned()));
                }
                _ => return Ok(()),
            }
        }
    }

    fn node(&mut self, depth: usize) -> Result<Node, Broken> {
        self.gap()?;
        let at = self.at;
        if depth > DEEPEST {
            return Err((at, format!("more than {DEEPEST} lists and objects within each other")));
        }
        let value = match self.rest.first() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"') => Value::Text(self.text()?),
            Some(byte) if byte.is_ascii_alphanumeric() || *byte == b'-' => {
                let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-._".contains(byte);
                let length = self.rest.iter().position(|byte| !plain(byte)).unwrap_or(self.rest.len());
                let word = self.rest.get(..length).unwrap_or_default().to_vec();
                self.skip(length);
                Value::Plain(word)
            }
            _ => return Err(self.expected("a value")),
        };
        Ok(Node { at, value })
    }

    /// After a value: true when another one follows.
    fn more(&mut self, end: u8) -> Result<bool, Broken> {
        self.gap()?;
        match self.rest.first() {
            Some(b',') => {
                self.skip(1);
                self.gap()?;
                Ok(self.rest.first() != Some(&end))
            }
            Some(byte) if *byte == end => Ok(false),
            _ => Err(self.expected(if end == b'}' { "`,` or `}`" } else { "`,` or `]`" })),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, Broken> {
        self.skip(1);
        let mut fields = Vec::new();
        self.gap()?;
        let mut more = self.rest.first() != Some(&b'}');
        while more {
            let at = self.at;
            if self.rest.first() != Some(&b'"') {
                return Err(self.expected("a name in quotes"));
            }
            let name = self.text()?;
            self.gap()?;
            if self.rest.first() != Some(&b':') {
                return Err(self.expected("`:`"));
            }
            self.skip(1);
            fields.push((at, name, self.node(depth + 1)?));
            more = self.more(b'}')?;
        }
        self.skip(1);
        Ok(Value::Object(fields))
    }

    fn list(&mut self, depth: usize) -> Result<Value, Broken> {
        self.skip(1);
        let mut items = Vec::new();
        self.gap()?;
        let mut more = self.rest.first() != Some(&b']');
        while more {
            items.push(self.node(depth + 1)?);
            more = self.more(b']')?;
        }
        self.skip(1);
        Ok(Value::List(items))
    }

    fn text(&mut self) -> Result<Vec<u8>, Broken> {
        let begun = self.at;
        self.skip(1);
        let mut text = Vec::new();
        loop {
            match self.rest {
                [b'"', ..] => {
                    self.skip(1);
                    return Ok(text);
                }
                [b'\\', b'u', a, b, c, d, ..] => {
                    let digits = [*a, *b, *c, *d];
                    let code =
                        std::str::from_utf8(&digits).ok().and_then(|digits| u32::from_str_radix(digits, 16).ok());
                    let sign = code.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
                    text.extend_from_slice(sign.encode_utf8(&mut [0; 4]).as_bytes());
                    self.skip(6);
                }
                [b'\\', byte, ..] => {
                    text.push(match byte {
                        b'n' => b'\n',
                        b't' => b'\t',
                        b'r' => b'\r',
                        other => *other,
                    });
                    self.skip(2);
                }
                [b'\n', ..] | [] => return Err((begun, "the text does not end; expected a closing \"".to_owned())),
                [byte, ..] => {
                    text.push(*byte);
                    self.skip(1);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every value with its place.
    fn told(node: &Node) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let value = match &node.value {
            Value::Plain(word) => text(word),
            Value::Text(word) => format!("{:?}", text(word)),
            Value::List(items) => format!("[{}]", items.iter().map(told).collect::<Vec<_>>().join(" ")),
            Value::Object(fields) => {
                let field = |(at, name, node): &(Spot, Vec<u8>, Node)| format!("{at} {}={}", text(name), told(node));
                format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(" "))
            }
        };
        format!("{}:{value}", node.at)
    }

    fn is(text: &str) -> Result<String, String> {
        read(text.as_bytes()).map(|node| told(&node)).map_err(|(at, why)| format!("{at} {why}"))
    }

    #[test]
    fn every_value_is_read_with_its_place_whatever_stands_between() {
        for (text, expected) in [
            ("-2.5e+3", "1:1:-2.5e+3"),
            (" a_b-c.d # end", "1:2:a_b-c.d"),
            ("[]", "1:1:[]"),
            ("{ }", "1:1:{}"),
            ("[ 1 ,null,true, ]", "1:1:[1:3:1 1:6:null 1:11:true]"),
            ("{\"a\": 1, \"b\" :[2],}", "1:1:{1:2 a=1:7:1 1:10 b=1:15:[1:16:2]}"),
            ("/**/[/* x\n*y */1// z\n# w\n,{\"a\":\"\"}]", "1:5:[2:6:1 4:2:{4:3 a=4:7:\"\"}]"),
            ("\"a\\n\\t\\r\\\"\\\\\\/\\u00e9\\ud800\\u12\"", "1:1:\"a\\n\\t\\r\\\"\\\\/é\u{fffd}u12\""),
        ] {
            assert_eq!(is(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_does_not_read_is_told_with_what_was_expected_and_what_is_there() {
        for (text, expected) in [
            ("{\"a\": ;}\nx", "1:7 expected a value, found \";}\""),
            ("[,]", "1:2 expected a value, found \",]\""),
            ("[1", "1:3 expected `,` or `]`, found the end of the file"),
            ("{\"a\":1]", "1:7 expected `,` or `}`, found \"]\""),
            ("{\"a\"=1}", "1:5 expected `:`, found \"=1}\""),
            ("{a:1}", "1:2 expected a name in quotes, found \"a:1}\""),
            ("[1,/* ]", "1:4 the comment does not end; expected */"),
            ("[\"a\n\"]", "1:2 the text does not end; expected a closing \""),
            ("[] 1", "1:4 expected the end of the file, found \"1\""),
            ("[<?include \"x\"?>]", "1:2 an included file: join the files first, its text is not here"),
        ] {
            assert_eq!(is(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn sixty_four_lists_and_objects_within_the_first_are_read_and_no_more() {
        let lists = |depth: usize| is(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
        let objects = |depth: usize| is(&format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)));
        assert!(lists(65).is_ok() && objects(64).is_ok());
        assert_eq!(lists(66), Err("1:66 more than 64 lists and objects within each other".to_owned()));
        assert!(objects(65).is_err());
    }

    #[test]
    fn of_a_name_given_twice_the_first_is_found_and_an_empty_text_is_none() {
        let root = read(b"{\"a\":\"x\",\"a\":\"y\",\"b\":\"\",\"c\":[1]}").unwrap();
        let text = |key: &[u8]| root.get(key).and_then(Node::text);
        assert_eq!((text(b"a"), text(b"b"), text(b"c"), root.get(b"d")), (Some(&b"x"[..]), None, None, None));
        assert_eq!((root.fields().len(), root.items().len()), (4, 0));
        let list = root.get(b"c").unwrap();
        assert_eq!((list.fields().len(), list.items().len()), (0, 1));
    }
}
