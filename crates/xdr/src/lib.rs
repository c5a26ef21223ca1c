//! XDR (RFC 4506), bounded everywhere.
