//! How a command fails: the lines that follow `error: `, outermost first.

use std::fmt::Display;

/// A failed command. Every line is printed after `error: `.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Fail {
    /// Lines, the command's own text first, the daemon's message last.
    pub lines: Vec<String>,
    /// libvirt's error code, when the daemon reported one.
    pub code: Option<u32>,
    /// The document that was refused and its file's name: shown with carets after the lines.
    pub document: Option<(String, String)>,
}

/// The result of a command.
pub type Outcome<T = ()> = Result<T, Fail>;

impl Fail {
    /// One line.
    pub fn new(line: impl Into<String>) -> Self {
        Self { lines: vec![line.into()], ..Self::default() }
    }
    /// A failure whose text is already on the terminal (or that has none).
    pub fn silent() -> Self {
        Self::default()
    }
    /// Adds a line in front.
    #[must_use]
    pub fn before(mut self, line: impl Into<String>) -> Self {
        self.lines.insert(0, line.into());
        self
    }
    /// Names the document that was refused.
    #[must_use]
    pub fn about(mut self, xml: &str, file: &str) -> Self {
        self.document = Some((xml.to_owned(), file.to_owned()));
        self
    }
    /// The code equals `code`.
    pub fn is(&self, code: u32) -> bool {
        self.code == Some(code)
    }
}

/// Puts the command's own words before the cause.
pub trait Context<T> {
    /// Adds a line in front of the error.
    fn ctx(self, line: impl Display) -> Outcome<T>;
    /// Names the document that was refused, and its file.
    fn about(self, xml: &str, file: &str) -> Outcome<T>;
}

impl<T, E: Into<Fail>> Context<T> for Result<T, E> {
    fn ctx(self, line: impl Display) -> Outcome<T> {
        self.map_err(|e| e.into().before(line.to_string()))
    }
    fn about(self, xml: &str, file: &str) -> Outcome<T> {
        self.map_err(|e| e.into().about(xml, file))
    }
}

/// Fails with a formatted line.
macro_rules! fail {
    ($($arg:tt)*) => { return Err($crate::virsh::fail::Fail::new(format!($($arg)*))) };
}
pub(crate) use fail;
