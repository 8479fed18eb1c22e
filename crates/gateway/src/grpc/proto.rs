//! What services look like: from a set of descriptors or from `.proto` files.

use std::path::Path;
use std::sync::OnceLock;

use prost_reflect::DescriptorPool;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use protox::{Compiler, Error};

/// Files that nobody has to bring along, by the name under which they are imported. Only what is of use
/// here stands in them; names and numbers are those of googleapis.
const KNOWN: [(&str, &str); 5] = [
    (
        "google/api/http.proto",
        r#"syntax = "proto3"; package google.api;
        message Http { repeated HttpRule rules = 1; bool fully_decode_reserved_expansion = 2; }
        message HttpRule {
            string selector = 1;
            oneof pattern {
                string get = 2; string put = 3; string post = 4; string delete = 5; string patch = 6;
                CustomHttpPattern custom = 8;
            }
            string body = 7; string response_body = 12; repeated HttpRule additional_bindings = 11;
        }
        message CustomHttpPattern { string kind = 1; string path = 2; }"#,
    ),
    (
        "google/api/annotations.proto",
        r#"syntax = "proto3"; package google.api;
        import "google/api/http.proto"; import "google/protobuf/descriptor.proto";
        extend google.protobuf.MethodOptions { HttpRule http = 72295728; }"#,
    ),
    (
        "google/api/httpbody.proto",
        r#"syntax = "proto3"; package google.api; import "google/protobuf/any.proto";
        message HttpBody {
            string content_type = 1; bytes data = 2; repeated google.protobuf.Any extensions = 3;
        }"#,
    ),
    (
        "google/rpc/status.proto",
        r#"syntax = "proto3"; package google.rpc; import "google/protobuf/any.proto";
        message Status { int32 code = 1; string message = 2; repeated google.protobuf.Any details = 3; }"#,
    ),
    (
        "google/rpc/error_details.proto",
        r#"syntax = "proto3"; package google.rpc; import "google/protobuf/duration.proto";
        message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
        message RetryInfo { google.protobuf.Duration retry_delay = 1; }
        message DebugInfo { repeated string stack_entries = 1; string detail = 2; }
        message QuotaFailure {
            message Violation { string subject = 1; string description = 2; }
            repeated Violation violations = 1;
        }
        message PreconditionFailure {
            message Violation { string type = 1; string subject = 2; string description = 3; }
            repeated Violation violations = 1;
        }
        message BadRequest {
            message FieldViolation {
                string field = 1; string description = 2; string reason = 3;
                LocalizedMessage localized_message = 4;
            }
            repeated FieldViolation field_violations = 1;
        }
        message RequestInfo { string request_id = 1; string serving_data = 2; }
        message ResourceInfo {
            string resource_type = 1; string resource_name = 2; string owner = 3; string description = 4;
        }
        message Help { message Link { string description = 1; string url = 2; } repeated Link links = 1; }
        message LocalizedMessage { string locale = 1; string message = 2; }"#,
    ),
];

/// Finds the files that are there, and those that everybody knows.
struct Given<'a> {
    /// By the name under which others import it.
    files: &'a [(String, String)],
}

impl FileResolver for Given<'_> {
    fn resolve_path(&self, path: &Path) -> Option<String> {
        let path = path.to_str()?;
        self.files.iter().find(|(name, _)| name == path).map(|(name, _)| name.clone())
    }

    fn open_file(&self, name: &str) -> Result<File, Error> {
        let given = self.files.iter().map(|(name, text)| (&**name, &**text));
        match given.chain(KNOWN).find(|(known, _)| *known == name) {
            Some((name, text)) => File::from_source(name, text),
            None => Err(Error::file_not_found(name)),
        }
    }
}

/// Compiles `.proto` files, each with its path. An import is the file whose path ends with it.
///
/// # Errors
/// The file, if it is known, and what is wrong.
pub fn compiled(files: &[(String, String)]) -> Result<DescriptorPool, (Option<String>, String)> {
    let told = |error: Error| (error.file().map(str::to_owned), error.to_string());
    let mut imports = Vec::new();
    for (path, text) in files {
        let file = File::from_source(path, text).map_err(told)?;
        imports.extend(file.file_descriptor_proto().dependency.iter().cloned());
    }
    let named = files.iter().map(|(path, text)| {
        let is_meant = |import: &&String| {
            path == *import || path.strip_suffix(&***import).is_some_and(|rest| rest.ends_with('/'))
        };
        let name = imports.iter().find(is_meant).unwrap_or(path);
        (name.clone(), text.clone())
    });
    let named: Vec<_> = named.collect();
    of_named(&named).map_err(told)
}

fn of_named(files: &[(String, String)]) -> Result<DescriptorPool, Error> {
    let names: Vec<_> = files.iter().map(|(name, _)| name.clone()).collect();
    let mut resolver = ChainFileResolver::new();
    resolver.add(Owned(files.to_vec()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true);
    compiler.open_files(names)?;
    Ok(compiler.descriptor_pool())
}

/// As the compiler keeps its resolver.
struct Owned(Vec<(String, String)>);

impl FileResolver for Owned {
    fn resolve_path(&self, path: &Path) -> Option<String> {
        Given { files: &self.0 }.resolve_path(path)
    }

    fn open_file(&self, name: &str) -> Result<File, Error> {
        Given { files: &self.0 }.open_file(name)
    }
}

/// The types of google.rpc and google.api, for what servers tell without having described it.
pub fn common() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| {
        let files = KNOWN.map(|(name, text)| (name.to_owned(), text.to_owned()));
        of_named(&files).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everybody_knows_compiles() {
        for name in ["google.api.HttpRule", "google.api.HttpBody", "google.rpc.BadRequest"] {
            assert!(common().get_message_by_name(name).is_some(), "{name}");
        }
        let http = common().get_extension_by_name("google.api.http").unwrap();
        assert_eq!(http.number(), 72_295_728);
    }

    #[test]
    fn files_import_each_other_wherever_they_lie() {
        let files = |pairs: &[(&str, &str)]| -> Vec<_> {
            pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
        };
        let a = r#"syntax = "proto3"; package a; import "x/b.proto"; import "google/api/annotations.proto";
            message A { b.B b = 1; }"#;
        let b = r#"syntax = "proto3"; package b; message B { int32 n = 1; }"#;
        for (one, other) in [("protos/x/a.proto", "protos/x/b.proto"), ("a.proto", "x/b.proto")] {
            let pool = compiled(&files(&[(one, a), (other, b)])).unwrap();
            assert!(pool.get_message_by_name("a.A").is_some());
        }
        let (file, what) = compiled(&files(&[("a.proto", a)])).unwrap_err();
        assert!(what.contains("x/b.proto"), "{file:?}: {what}");
        let (file, what) =
            compiled(&files(&[("b.proto", "syntax = \"proto3\"; message {")])).unwrap_err();
        assert_eq!(file.as_deref(), Some("b.proto"), "{what}");
    }
}
