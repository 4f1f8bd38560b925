//! From a raw reading to a number with a unit (IPMI 2.0, section 36.3, tables 43-1, 43-15 and 43-21).

/// How a sensor's raw byte becomes a value: `L((M * raw + B * 10^Bexp) * 10^Rexp)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Analog {
    /// 0 unsigned, 1 one's complement, 2 two's complement.
    format: u8,
    linearisation: u8,
    factors: Factors,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Factors {
    m: f64,
    b: f64,
    r_exp: i32,
    b_exp: i32,
}

impl Analog {
    /// `None` for format 3: no number. The six bytes are M, tolerance, B, accuracy and exponents.
    pub fn read(format: u8, linearisation: u8, factors: &[u8]) -> Option<Self> {
        let factors = Factors::read(factors)?;
        (format < 3).then_some(Self { format, linearisation: linearisation & 0x7f, factors })
    }

    /// Whether the factors hold for one raw reading only and have to be asked for with it.
    pub fn varies(&self) -> bool {
        self.linearisation >= 0x70
    }

    /// With the factors of Get Sensor Reading Factors, whose answer has the next reading before them.
    pub fn with_factors(&self, answer: &[u8]) -> Option<Self> {
        Some(Self { factors: Factors::read(answer.get(1..)?)?, linearisation: 0, ..*self })
    }

    /// `None` where the arithmetic leads nowhere: the inverse of zero, a function nobody defined.
    pub fn value(&self, raw: u8) -> Option<f64> {
        let raw = match self.format {
            0 => f64::from(raw),
            1 if raw & 0x80 != 0 => f64::from(raw) - 255.0,
            1 => f64::from(raw),
            _ => f64::from(raw.cast_signed()),
        };
        let Factors { m, b, r_exp, b_exp } = self.factors;
        let linear = scale(m * raw + scale(b, b_exp), r_exp);
        let value = match self.linearisation {
            0 => linear,
            1 => linear.ln(),
            2 => linear.log10(),
            3 => linear.log2(),
            4 => linear.exp(),
            5 => 10_f64.powf(linear),
            6 => linear.exp2(),
            7 => 1.0 / linear,
            8 => linear.powi(2),
            9 => linear.powi(3),
            10 => linear.sqrt(),
            11 => 1.0 / linear.powi(3),
            _ => return None,
        };
        // More digits than eight bits can mean are the arithmetic's dust.
        let dusted = (value * 1e6).round() / 1e6;
        value.is_finite().then_some(if dusted.is_finite() { dusted } else { value })
    }
}

/// Divides rather than multiplies by a tenth, which has no exact binary form.
fn scale(value: f64, exponent: i32) -> f64 {
    match exponent {
        0.. => value * 10_f64.powi(exponent),
        _ => value / 10_f64.powi(-exponent),
    }
}

impl Factors {
    fn read(bytes: &[u8]) -> Option<Self> {
        let [m, m_high, b, b_high, _, exponents, ..] = bytes else { return None };
        let ten = |low: u8, high: u8| f64::from(i16::from_le_bytes([low, high >> 6]) << 6 >> 6);
        let four = |nibble: u8| i32::from((nibble << 4).cast_signed() >> 4);
        Some(Self {
            m: ten(*m, *m_high),
            b: ten(*b, *b_high),
            r_exp: four(exponents >> 4),
            b_exp: four(exponents & 0x0f),
        })
    }
}

/// The unit, in words; `None` where the record names none.
pub fn unit(units: [u8; 3]) -> Option<String> {
    let [how, base, modifier] = units;
    if how & 0x01 != 0 {
        return Some("percent".into());
    }
    let word = |at: u8| UNITS.split_whitespace().nth(usize::from(at)).filter(|word| *word != "-");
    let mut unit = word(base)?.to_string();
    let sign = match how >> 1 & 0x03 {
        1 => "/",
        2 => "*",
        _ => "",
    };
    if let Some(modifier) = word(modifier).filter(|_| !sign.is_empty()) {
        unit = format!("{unit}{sign}{modifier}");
    }
    let rates = ["", "/us", "/ms", "/s", "/minute", "/hour", "/day"];
    unit.push_str(rates.get(usize::from(how >> 3 & 0x07)).unwrap_or(&""));
    Some(unit)
}

/// Table 43-15, by code.
const UNITS: &str = "\
    - celsius fahrenheit kelvin volts amperes watts joules coulombs va nits lumens lux candelas kpa psi newtons \
    cfm rpm hertz us ms seconds minutes hours days weeks mils inches feet in3 ft3 mm cm meters cm3 m3 liters \
    fluid-ounces radians steradians revolutions cycles g ounces pounds ft-lb oz-in gauss gilberts henries mh \
    farads uf ohms siemens moles becquerels ppm - db dba dbc grays sieverts color-kelvin bits kbit mbit gbit \
    bytes kbytes mbytes gbytes words dwords qwords lines hits misses retries resets overruns underruns \
    collisions packets messages characters errors correctable-errors uncorrectable-errors fatal-errors grams";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn analog(format: u8, linearisation: u8, m: i16, b: i16, r_exp: i8, b_exp: i8) -> Analog {
        let [m_low, m_high] = m.to_le_bytes();
        let [b_low, b_high] = b.to_le_bytes();
        let exponents = (r_exp as u8) << 4 | (b_exp as u8) & 0x0f;
        Analog::read(format, linearisation, &[m_low, m_high << 6, b_low, b_high << 6, 0, exponents]).unwrap()
    }

    #[test]
    fn factors_are_signed_and_scaled() {
        assert_eq!(analog(0, 0, 60, 0, -3, 0).value(0xc8), Some(12.0));
        assert_eq!(analog(0, 0, 1, -128, 0, 0).value(0xa8), Some(40.0));
        assert_eq!(analog(0, 0, -511, 0, 0, 0).value(2), Some(-1022.0));
        assert_eq!(analog(0, 0, 100, 5, 0, 2).value(10), Some(1500.0));
        assert_eq!(analog(0, 0, 70, 0, 0, 0).value(100), Some(7000.0));
    }

    #[test]
    fn the_three_number_formats_differ_from_80h_on() {
        let of = |format| analog(format, 0, 1, 0, 0, 0);
        for format in 0..3 {
            assert_eq!(of(format).value(0x7f), Some(127.0));
        }
        assert_eq!(of(0).value(0xfe), Some(254.0));
        assert_eq!(of(1).value(0xfe), Some(-1.0));
        assert_eq!(of(2).value(0xfe), Some(-2.0));
        assert_eq!(Analog::read(3, 0, &[1, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn each_linearisation_is_its_function() {
        let logarithms = [(1, 1.098612), (2, 0.477121), (3, 1.584963)];
        let powers = [(4, 20.085537), (5, 1000.0), (6, 8.0), (8, 9.0), (9, 27.0)];
        let others = [(7, 0.333333), (10, 1.732051), (11, 0.037037)];
        for (function, expected) in logarithms.into_iter().chain(powers).chain(others) {
            assert_eq!(analog(0, function, 1, 0, 0, 0).value(3), Some(expected), "function {function}");
        }
        assert_eq!(analog(0, 7, 1, 0, 0, 0).value(0), None, "the inverse of zero");
        assert_eq!(analog(0, 12, 1, 0, 0, 0).value(1), None);
        let varying = analog(0, 0x70, 1, 0, 0, 0);
        assert!(varying.varies() && varying.value(1).is_none());
        assert_eq!(varying.with_factors(&[2, 5, 0, 0, 0, 0, 0]).unwrap().value(3), Some(15.0));
    }

    #[test]
    fn units_are_words() {
        assert_eq!(unit([0, 1, 0]).as_deref(), Some("celsius"));
        assert_eq!(unit([0, 18, 0]).as_deref(), Some("rpm"));
        assert_eq!(unit([1, 0, 0]).as_deref(), Some("percent"));
        assert_eq!(unit([0x02, 17, 32]).as_deref(), Some("cfm/mm"));
        assert_eq!(unit([0x18, 7, 0]).as_deref(), Some("joules/s"));
        assert_eq!(unit([0, 92, 0]).as_deref(), Some("grams"));
        assert_eq!((unit([0, 0, 0]), unit([0, 200, 0])), (None, None));
    }

    proptest! {
        #[test]
        fn a_value_is_a_number_or_none(format in 0_u8..3, function: u8, factors: [u8; 6], raw: u8) {
            if let Some(value) = Analog::read(format, function, &factors).and_then(|analog| analog.value(raw)) {
                prop_assert!(value.is_finite());
            }
        }
    }
}
