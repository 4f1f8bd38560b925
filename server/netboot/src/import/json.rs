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
