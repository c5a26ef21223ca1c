//! What can be wrong with a CPU description.

use diag::{Diagnostic, ErrorCode, ErrorDomain, SourceText, VirError};

/// Why a question about CPUs has no answer. The texts are libvirt's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CpuError {
    /// The text cannot be read; all that is wrong with it, and the text.
    Document(Vec<Diagnostic>),
    /// The XML lacks something or says it twice.
    Xml(String),
    /// The XML asks for what does not go together.
    Config(String),
    /// The CPUs given are no valid argument.
    Argument(String),
    /// No such model.
    UnknownModel(String),
    /// No such feature.
    UnknownFeature(String),
    /// No such vendor.
    UnknownVendor(String),
    /// CPUs of different vendors have no baseline.
    Vendors,
    /// A model of one vendor is said to be of another.
    ModelVendor {
        /// The model's own vendor.
        own: String,
        /// The model.
        model: String,
        /// The vendor it is said to have.
        said: String,
    },
    /// The CPUs have nothing in common.
    Incompatible,
    /// No model of the hypervisor describes the CPU.
    NoModel,
    /// The hypervisor lacks the model, and no other one may take its place.
    ModelUnsupported(String),
    /// The guest got another CPU than it must have.
    NotAsWanted {
        /// Features it has too many.
        extra: Vec<String>,
        /// Features it lacks.
        missing: Vec<String>,
    },
    /// Nothing is known of the architecture.
    Architecture(String),
    /// The architecture has no such operation ("compute baseline CPU").
    Operation {
        /// What was asked for.
        what: &'static str,
        /// The architecture.
        arch: String,
    },
}

impl CpuError {
    /// The code that goes over the wire.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Document(found) => found.first().map_or(ErrorCode::XML_ERROR, |first| first.code),
            Self::Xml(_) => ErrorCode::XML_ERROR,
            Self::Config(_) | Self::ModelUnsupported(_) => ErrorCode::CONFIG_UNSUPPORTED,
            Self::Argument(_) => ErrorCode::INVALID_ARG,
            Self::UnknownModel(_) | Self::UnknownFeature(_) | Self::NoModel => {
                ErrorCode::INTERNAL_ERROR
            }
            Self::UnknownVendor(_)
            | Self::Vendors
            | Self::ModelVendor { .. }
            | Self::Incompatible
            | Self::NotAsWanted { .. } => ErrorCode::OPERATION_FAILED,
            Self::Architecture(_) | Self::Operation { .. } => ErrorCode::NO_SUPPORT,
        }
    }
}

impl std::fmt::Display for CpuError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Document(found) => {
                f.write_str(found.first().map_or("cannot read the CPU", |first| &first.message))
            }
            Self::Xml(text) | Self::Config(text) | Self::Argument(text) => f.write_str(text),
            Self::UnknownModel(name) => write!(f, "Unknown CPU model {name}"),
            Self::UnknownFeature(name) => write!(f, "Unknown CPU feature {name}"),
            Self::UnknownVendor(name) => write!(f, "Unknown CPU vendor {name}"),
            Self::Vendors => f.write_str("CPU vendors do not match"),
            Self::ModelVendor { own, model, said } => {
                write!(f, "CPU vendor {own} of model {model} differs from vendor {said}")
            }
            Self::Incompatible => f.write_str("CPUs are incompatible"),
            Self::NoModel => f.write_str("Cannot find suitable CPU model for given data"),
            Self::ModelUnsupported(name) => {
                write!(f, "CPU model {name} is not supported by hypervisor")
            }
            Self::NotAsWanted { extra, missing } => {
                f.write_str("guest CPU doesn't match specification: ")?;
                match (extra.is_empty(), missing.is_empty()) {
                    (false, true) => write!(f, "extra features: {}", extra.join(",")),
                    (true, _) => write!(f, "missing features: {}", missing.join(",")),
                    (false, false) => write!(
                        f,
                        "extra features: {}, missing features: {}",
                        extra.join(","),
                        missing.join(",")
                    ),
                }
            }
            Self::Architecture(arch) => {
                write!(f, "'{arch}' architecture is not supported by CPU driver")
            }
            Self::Operation { what, arch } => write!(f, "cannot {what} of {arch} architecture"),
        }
    }
}

impl std::error::Error for CpuError {}

impl CpuError {
    /// The error for clients, when `text` is what was read.
    pub fn of_text(self, text: &str) -> VirError {
        match self {
            Self::Document(found) => {
                let source = SourceText::new("cpu", text);
                let error = VirError::from_diagnostics(ErrorDomain::CPU, found, Some(&source));
                error.from_domain(ErrorDomain::CPU)
            }
            other => other.into(),
        }
    }
}

impl From<CpuError> for VirError {
    fn from(error: CpuError) -> Self {
        if let CpuError::Document(found) = error {
            return Self::from_diagnostics(ErrorDomain::CPU, found, None);
        }
        Self::new(error.code(), error.to_string()).from_domain(ErrorDomain::CPU)
    }
}
