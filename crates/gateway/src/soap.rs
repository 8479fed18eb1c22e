//! SOAP 1.1 and 1.2, as far as JSON can be said in it: document/literal.
//!
//! ```text
//! wsdl (which operations, of which types) ─▶ schema (their types)
//! arguments ─ write ─▶ envelope ─▶ endpoint ─▶ envelope ─ read ─▶ result, or a fault
//! ```
//!
//! Nothing here knows requests: the policy `soap` does.

pub mod envelope;
pub mod read;
pub mod schema;
pub mod simple;
pub mod write;
pub mod wsdl;

#[cfg(test)]
mod tests;

use transom_settings::settings;

settings! {
    /// A version of SOAP.
    pub enum Version {
        /// SOAP 1.1: `text/xml`, and the action in `SOAPAction`.
        One = "1.1",
        /// SOAP 1.2: `application/soap+xml`, and the action as its parameter.
        Two = "1.2",
    }
}

/// XML Schema.
pub(crate) const XSD: &str = "http://www.w3.org/2001/XMLSchema";
/// Of the attributes `nil` and `type`.
pub(crate) const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";
