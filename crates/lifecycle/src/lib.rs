//! The state machine of a virtual machine and its policy tables.
