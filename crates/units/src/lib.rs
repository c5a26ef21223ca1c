//! Small value types of the field: byte sizes, CPU sets, MACs, PCI addresses, UUIDs.
