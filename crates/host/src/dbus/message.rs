//! Messages of D-Bus: calls as they are sent, answers and signals as they are read.

use std::io;

/// The longest message that is read; those of interest have some hundred bytes.
const MESSAGE_MAX: usize = 1 << 20;

/// Bytes before the header's fields: order, kind, flags, version, body, serial, length of fields.
const FIXED: usize = 16;

pub(super) const CALL: u8 = 1;
pub(super) const ANSWER: u8 = 2;
pub(super) const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// A message as far as it is of interest.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub(super) kind: u8,
    big_endian: bool,
    interface: String,
    member: String,
    pub(super) error: String,
    pub(super) answers: Option<u32>,
    signature: String,
    body: Vec<u8>,
}

impl Message {
    /// Whether it is this signal.
    pub fn is_signal(&self, interface: &str, member: &str) -> bool {
        self.kind == SIGNAL && self.interface == interface && self.member == member
    }

    /// Its first argument, where that is a yes or no.
    pub fn yes(&self) -> Option<bool> {
        let value = self.body.first_chunk().filter(|_| self.signature.starts_with('b'))?;
        Some(word(*value, self.big_endian) != 0)
    }

    /// Its first argument, where that is a text or the path of an object.
    pub fn text(&self) -> Option<String> {
        self.signature.starts_with(['s', 'o']).then(|| self.fields().text()).flatten()
    }

    /// Its first argument, where that is a list of texts.
    pub fn texts(&self) -> Option<Vec<String>> {
        if !self.signature.starts_with("as") {
            return None;
        }
        let mut fields = self.fields();
        let length = usize::try_from(fields.number()?).ok()?;
        let end = fields.at.checked_add(length).filter(|end| *end <= self.body.len())?;
        let mut texts = Vec::new();
        while fields.at < end {
            texts.push(fields.text()?);
        }
        (fields.at == end).then_some(texts)
    }

    fn fields(&self) -> Fields<'_> {
        Fields { bytes: &self.body, at: 0, big_endian: self.big_endian }
    }
}

/// Any bytes, no panic.
pub fn fuzz_one(data: &[u8]) {
    if let Some(length) = data.first_chunk().and_then(|head| length(head).ok()) {
        let message = parse(data.get(..length).unwrap_or(data));
        let _ = message.map(|message| (message.yes(), message.text(), message.texts()));
    }
}

fn word(bytes: [u8; 4], big_endian: bool) -> u32 {
    if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

pub(super) fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("D-Bus: {what}"))
}

fn is_big_endian(order: u8) -> io::Result<bool> {
    match order {
        b'l' => Ok(false),
        b'B' => Ok(true),
        _ => Err(broken("a message of no byte order")),
    }
}

/// How long the message is that begins so.
pub(super) fn length(head: &[u8; FIXED]) -> io::Result<usize> {
    let big_endian = is_big_endian(head[0])?;
    let number = |at: usize| {
        let bytes = head.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| usize::try_from(word(*bytes, big_endian)).unwrap_or(usize::MAX))
    };
    let (body, fields) = (number(4), number(12));
    if body > MESSAGE_MAX || fields > MESSAGE_MAX {
        return Err(broken("a message that is too long"));
    }
    Ok((FIXED + fields).next_multiple_of(8) + body)
}

/// Values one after the other.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u32> {
        self.at = self.at.next_multiple_of(4);
        Some(word(*self.take(4)?.first_chunk()?, self.big_endian))
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        self.words(length)
    }

    fn signature(&mut self) -> Option<String> {
        let length = usize::from(self.byte()?);
        self.words(length)
    }

    fn words(&mut self, length: usize) -> Option<String> {
        let words = String::from_utf8(self.take(length)?.to_vec()).ok()?;
        self.take(1)?;
        Some(words)
    }
}

/// Reads a whole message.
pub(super) fn parse(bytes: &[u8]) -> io::Result<Message> {
    let head = bytes.first_chunk().ok_or_else(|| broken("a short message"))?;
    let whole = length(head)?;
    let big_endian = is_big_endian(head[0])?;
    let fields_end = FIXED
        + usize::try_from(word([head[12], head[13], head[14], head[15]], big_endian)).unwrap_or(0);
    let fields = bytes.get(..fields_end).ok_or_else(|| broken("a header that is cut short"))?;
    let body = bytes.get(fields_end.next_multiple_of(8)..whole);
    let body = body.ok_or_else(|| broken("a body that is cut short"))?.to_vec();
    let mut message = Message { kind: head[1], big_endian, body, ..Message::default() };
    let mut fields = Fields { bytes: fields, at: FIXED, big_endian };
    while fields.at < fields_end {
        fields.at = fields.at.next_multiple_of(8);
        // What comes behind one of an unknown type is of no interest either.
        let Some(()) = field(&mut fields, &mut message) else { break };
    }
    Ok(message)
}

/// A field of the header: its number and a variant.
fn field(fields: &mut Fields<'_>, message: &mut Message) -> Option<()> {
    let code = fields.byte()?;
    let kind = fields.signature()?;
    match (code, kind.as_str()) {
        (5, "u") => message.answers = Some(fields.number()?),
        (8, "g") => message.signature = fields.signature()?,
        (_, "u") => drop(fields.number()?),
        (_, "g") => drop(fields.signature()?),
        (code, "s" | "o") => {
            let text = fields.text()?;
            match code {
                2 => message.interface = text,
                3 => message.member = text,
                4 => message.error = text,
                _ => {}
            }
        }
        _ => return None,
    }
    Some(())
}

/// An argument of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// `s`
    Text(&'a str),
    /// `b`
    Flag(bool),
    /// `u`
    Number(u32),
    /// `t`
    Large(u64),
    /// `ay`
    Bytes(&'a [u8]),
    /// `ai`
    Numbers(&'a [i32]),
    /// `as`
    Texts(&'a [&'a str]),
    /// `a(sv)`: settings by their names.
    Settings(&'a [(&'a str, Value<'a>)]),
}

impl Value<'_> {
    fn signature(self) -> &'static str {
        match self {
            Self::Text(_) => "s",
            Self::Flag(_) => "b",
            Self::Number(_) => "u",
            Self::Large(_) => "t",
            Self::Bytes(_) => "ay",
            Self::Numbers(_) => "ai",
            Self::Texts(_) => "as",
            Self::Settings(_) => "a(sv)",
        }
    }
}

/// What is written, in the byte order of most machines; places are counted from its beginning.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn pad(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, number: u32) {
        self.pad(4);
        self.0.extend(number.to_le_bytes());
    }

    fn count(&mut self, count: usize) {
        self.number(u32::try_from(count).unwrap_or(u32::MAX));
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, signature: &str) {
        self.0.push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.0.extend(signature.as_bytes());
        self.0.push(0);
    }

    /// A list: its length in bytes, without what brings its first element to its place.
    fn list<T>(&mut self, align: usize, items: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.number(0);
        let length_at = self.0.len() - 4;
        self.pad(align);
        let begin = self.0.len();
        items.iter().for_each(|item| each(self, item));
        let length = u32::try_from(self.0.len() - begin).unwrap_or(u32::MAX).to_le_bytes();
        if let Some(place) = self.0.get_mut(length_at..length_at + 4) {
            place.copy_from_slice(&length);
        }
    }

    fn value(&mut self, value: Value<'_>) {
        match value {
            Value::Text(text) => self.text(text),
            Value::Flag(flag) => self.number(flag.into()),
            Value::Number(number) => self.number(number),
            Value::Large(number) => {
                self.pad(8);
                self.0.extend(number.to_le_bytes());
            }
            Value::Bytes(bytes) => self.list(1, bytes, |out, byte| out.0.push(*byte)),
            Value::Numbers(numbers) => {
                self.list(4, numbers, |out, number| out.0.extend(number.to_le_bytes()));
            }
            Value::Texts(texts) => self.list(4, texts, |out, text| out.text(text)),
            Value::Settings(settings) => self.list(8, settings, |out, (name, value)| {
                out.pad(8);
                out.text(name);
                out.signature(value.signature());
                out.value(*value);
            }),
        }
    }
}

/// A call: whom, which object, what.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The bus name of who is called.
    pub to: &'a str,
    /// The object.
    pub path: &'a str,
    /// The interface.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
    /// Its arguments.
    pub args: &'a [Value<'a>],
}

impl Call<'_> {
    pub(super) fn bytes(&self, serial: u32) -> Vec<u8> {
        let mut body = Writer::default();
        self.args.iter().for_each(|arg| body.value(*arg));
        // The header's fields are counted from a multiple of 8, as in the message.
        let mut fields = Writer::default();
        let parts = [
            (1, "o", self.path),
            (2, "s", self.interface),
            (3, "s", self.member),
            (6, "s", self.to),
        ];
        for (code, kind, value) in parts {
            fields.pad(8);
            fields.0.push(code);
            fields.signature(kind);
            fields.text(value);
        }
        if !self.args.is_empty() {
            fields.pad(8);
            fields.0.push(8);
            fields.signature("g");
            fields.signature(&self.args.iter().map(|arg| arg.signature()).collect::<String>());
        }
        let mut out = Writer(vec![b'l', CALL, 0, 1]);
        out.count(body.0.len());
        out.number(serial);
        out.count(fields.0.len());
        out.0.extend(&fields.0);
        out.pad(8);
        out.0.extend(&body.0);
        out.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_back() {
        let call = Call {
            to: "org.example",
            path: "/org/example",
            interface: "org.example.Thing",
            member: "Do",
            args: &[Value::Text("one"), Value::Text("")],
        };
        let bytes = call.bytes(7);
        assert_eq!(length(bytes.first_chunk().unwrap()).unwrap(), bytes.len());
        let message = parse(&bytes).unwrap();
        assert_eq!((message.kind, message.signature.as_str()), (CALL, "ss"));
        assert_eq!(
            (message.interface.as_str(), message.member.as_str()),
            ("org.example.Thing", "Do")
        );
        assert_eq!(message.text().as_deref(), Some("one"));
        for end in 0..bytes.len() {
            assert!(parse(&bytes[..end]).is_err(), "{end}");
        }
    }

    /// As the specification has it: each value at a multiple of its size, a list by its bytes.
    #[test]
    fn arguments_of_all_kinds() {
        let settings = [("A", Value::Texts(&["x"])), ("Bc", Value::Large(7))];
        let args = [
            Value::Bytes(&[1, 2, 3]),
            Value::Number(9),
            Value::Flag(true),
            Value::Numbers(&[-1]),
            Value::Settings(&settings),
        ];
        let call = Call { to: "a.b", path: "/", interface: "a.b", member: "C", args: &args };
        let message = parse(&call.bytes(1)).unwrap();
        assert_eq!(message.signature, "ayubaia(sv)");
        let expected: &[&[u8]] = &[
            &[3, 0, 0, 0, 1, 2, 3, 0],
            &[9, 0, 0, 0, 1, 0, 0, 0],
            &[4, 0, 0, 0, 255, 255, 255, 255],
            // 24: a setting begins at a multiple of 8.
            &[48, 0, 0, 0, 0, 0, 0, 0],
            &[1, 0, 0, 0, b'A', 0, 2, b'a', b's', 0, 0, 0, 6, 0, 0, 0, 1, 0, 0, 0, b'x', 0, 0, 0],
            &[2, 0, 0, 0, b'B', b'c', 0, 1, b't', 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(message.body, expected.concat());
        let empty = [Value::Settings(&[]), Value::Numbers(&[])];
        let message = parse(&Call { args: &empty, ..call }.bytes(1)).unwrap();
        assert_eq!(message.body, [0; 12]);
    }

    #[test]
    fn lists_of_texts_are_read() {
        let args = [Value::Texts(&["org.example.A", "", "b"])];
        let call = Call { to: "a.b", path: "/", interface: "a.b", member: "C", args: &args };
        let mut message = parse(&call.bytes(1)).unwrap();
        assert_eq!(message.texts().unwrap(), ["org.example.A", "", "b"]);
        assert_eq!((message.text(), message.yes()), (None, None));
        for end in 0..message.body.len() {
            let body = message.body[..end].to_vec();
            assert_eq!(
                Message { body, signature: "as".into(), ..Message::default() }.texts(),
                None
            );
        }
        // More than is there, and an end within a text.
        for length in [u32::MAX, 21] {
            message.body[..4].copy_from_slice(&length.to_le_bytes());
            assert_eq!(message.texts(), None);
        }
    }

    #[test]
    fn signals_of_either_byte_order_say_yes_or_no() {
        for (order, yes) in [(b'l', [1, 0, 0, 0]), (b'B', [0, 0, 0, 1])] {
            let number = |n: u32| if order == b'l' { n.to_le_bytes() } else { n.to_be_bytes() };
            let mut fields = vec![2, 1, b's', 0];
            fields.extend(number(5));
            fields.extend(b"a.b.c\0\0\0");
            fields.extend([3, 1, b's', 0]);
            fields.extend(number(2));
            fields.extend(b"Go\0\0\0\0\0\0");
            fields.extend([8, 1, b'g', 0, 1, b'b', 0]);
            let mut bytes = vec![order, SIGNAL, 0, 1];
            bytes.extend([number(4), number(9)].concat());
            bytes.extend(number(u32::try_from(fields.len()).unwrap()));
            bytes.extend(fields);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            bytes.extend(yes);
            let message = parse(&bytes).unwrap();
            assert!(message.is_signal("a.b.c", "Go") && !message.is_signal("a.b.c", "Stop"));
            assert_eq!(message.yes(), Some(true));
        }
    }

    #[test]
    fn hostile_lengths_are_refused() {
        let mut head = [0; FIXED];
        assert!(length(&head).is_err());
        head[0] = b'l';
        head[4..8].fill(0xff);
        assert!(length(&head).is_err());
    }
}
