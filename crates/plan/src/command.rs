//! A command of the host, as data.

/// A program to run to its end, and what it is given.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Command {
    /// The program, a bare name.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// What it reads on its standard input.
    pub stdin: Option<String>,
}

impl Command {
    /// A program without arguments.
    pub fn new(program: &str) -> Self {
        Self { program: program.to_owned(), ..Self::default() }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<T: Into<String>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Program and arguments.
    pub fn argv(&self) -> Vec<String> {
        std::iter::once(self.program.clone()).chain(self.args.iter().cloned()).collect()
    }
}
