//! The limits of an interface as virsh writes them: `average,peak,burst,floor`, any of them empty.

use crate::virsh::cmd::{Cmd, parse_u64};
use crate::virsh::fail::{Outcome, fail};
use protocol::TypedParam;

/// Limits of one direction; 0 is none. Average, peak and floor in KiB/s, burst in KiB.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rates {
    pub average: u64,
    pub peak: u64,
    pub burst: u64,
    pub floor: u64,
}

impl Rates {
    /// The value of an option, where it is given.
    pub fn of(cmd: &Cmd, option: &str) -> Outcome<Option<Self>> {
        cmd.str(option)?.map(Self::parse).transpose()
    }

    fn parse(text: &str) -> Outcome<Self> {
        if text.split(',').count() > 4 {
            fail!("Rate string '{text}' has too many fields");
        }
        let mut rates = Self::default();
        let mut fields = text.split(',');
        for (name, place) in [
            ("average", &mut rates.average),
            ("peak", &mut rates.peak),
            ("burst", &mut rates.burst),
            ("floor", &mut rates.floor),
        ] {
            let Some(field) = fields.next().filter(|field| !field.is_empty()) else { continue };
            match parse_u64(field) {
                Some(value) => *place = value,
                None => fail!("field '{name}' is malformed"),
            }
        }
        Ok(rates)
    }

    /// Only what comes in can have a floor.
    pub fn no_floor(&self) -> Outcome {
        if self.floor != 0 {
            fail!("outbound floor is unsupported yet");
        }
        Ok(())
    }

    /// The element of `<bandwidth>`.
    pub fn xml(&self, name: &str) -> String {
        let mut out = format!("    <{name}");
        for (field, value) in self.fields().into_iter().filter(|(_, value)| *value != 0) {
            out.push_str(&format!(" {field}='{value}'"));
        }
        out + "/>\n"
    }

    /// The parameters of a running or stored interface. The average is always told: 0 takes the
    /// limit away.
    pub fn params(&self, direction: &str) -> Outcome<Vec<TypedParam>> {
        let mut out = Vec::new();
        for (field, value) in self.fields() {
            let Ok(number) = u32::try_from(value) else {
                fail!("{direction} rate larger than maximum {}", u32::MAX);
            };
            if field == "average" || number != 0 {
                out.push(TypedParam::new(format!("{direction}.{field}"), number));
            }
        }
        Ok(out)
    }

    fn fields(&self) -> [(&'static str, u64); 4] {
        [
            ("average", self.average),
            ("peak", self.peak),
            ("burst", self.burst),
            ("floor", self.floor),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_may_be_empty_but_not_wrong() {
        let check = |text: &str, expected: Result<[u64; 4], &str>| {
            let parsed = Rates::parse(text).map(|r| [r.average, r.peak, r.burst, r.floor]);
            assert_eq!(parsed.map_err(|f| f.lines.join("|")), expected.map_err(str::to_owned));
        };
        check("5", Ok([5, 0, 0, 0]));
        check(" 5,,+7", Ok([5, 0, 7, 0]));
        check(",,,9", Ok([0, 0, 0, 9]));
        check(",,", Ok([0; 4]));
        check("x", Err("field 'average' is malformed"));
        check("1,-2", Err("field 'peak' is malformed"));
        check("1,x,3,4,5", Err("Rate string '1,x,3,4,5' has too many fields"));
    }
}
