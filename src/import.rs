//! What others have written, as a configuration: the text, with what could not be carried over in its
//! comments.

pub mod openapi;
