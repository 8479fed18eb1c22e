//! Which request calls which method: google.api.http (googleapis, google/api/http.proto).

use std::collections::HashMap;

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    Value,
};
use transom_proxy::message::Method as Verb;

use super::template::{Bound, Template};

/// Every method and the requests that call it.
pub(super) struct Table {
    pub(super) methods: Vec<Method>,
    bindings: Vec<Binding>,
    /// Numbers of bindings by the text of their first segment, each list in the order in which they are
    /// looked at.
    by_first: HashMap<String, Vec<usize>>,
    /// Those whose first segment may be anything.
    open: Vec<usize>,
    /// Methods by `/package.Service/Method`.
    by_name: HashMap<String, usize>,
    pub(super) pool: DescriptorPool,
}

/// A method of a service.
pub(super) struct Method {
    /// `/package.Service/Method`.
    pub(super) path: String,
    pub(super) input: MessageDescriptor,
    pub(super) output: MessageDescriptor,
    pub(super) streams_in: bool,
    pub(super) streams_out: bool,
}

/// One form of request that calls a method.
pub(super) struct Binding {
    /// None for any.
    verb: Option<Verb>,
    template: Template,
    pub(super) method: usize,
    pub(super) body: BodyOf,
    /// The field of the answer that is sent alone.
    pub(super) response_body: Option<FieldDescriptor>,
}

/// What the body of a request is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum BodyOf {
    /// Nothing; fields stand in the query.
    Nothing,
    /// The message, but for what the path has.
    Message,
    /// One field of it.
    Field(FieldDescriptor),
}

/// What a request calls.
pub(super) enum Found<'a> {
    /// By a rule, or by its name.
    Call {
        method: &'a Method,
        binding: Option<&'a Binding>,
        bound: Bound,
    },
    /// The path is known, with these methods.
    OtherMethod(Vec<&'a str>),
    Nothing,
}

impl Table {
    /// The methods of services: of those named, or of all. What cannot be used is told beside it.
    pub(super) fn of(pool: DescriptorPool, services: &[String]) -> (Self, Vec<String>) {
        let mut table = Table {
            methods: Vec::new(),
            bindings: Vec::new(),
            by_first: HashMap::new(),
            open: Vec::new(),
            by_name: HashMap::new(),
            pool: pool.clone(),
        };
        let mut wrong = Vec::new();
        for name in services {
            if pool.get_service_by_name(name).is_none() {
                wrong.push(format!("there is no service `{name}`"));
            }
        }
        let wanted = |name: &str| match services {
            [] => !name.starts_with("grpc.reflection."),
            services => services.iter().any(|wanted| wanted == name),
        };
        for service in pool.services().filter(|service| wanted(service.full_name())) {
            for method in service.methods() {
                table.add(&method, &mut wrong);
            }
        }
        let mut order: Vec<usize> = (0..table.bindings.len()).collect();
        order.sort_by(|one, other| {
            table.bindings[*one].template.order(&table.bindings[*other].template)
        });
        for number in order {
            match table.bindings[number].template.first() {
                Some(first) => table.by_first.entry(first.to_owned()).or_default().push(number),
                None => table.open.push(number),
            }
        }
        (table, wrong)
    }

    fn add(&mut self, method: &MethodDescriptor, wrong: &mut Vec<String>) {
        let number = self.methods.len();
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        self.by_name.insert(path.clone(), number);
        self.methods.push(Method {
            path,
            input: method.input(),
            output: method.output(),
            streams_in: method.is_client_streaming(),
            streams_out: method.is_server_streaming(),
        });
        let Some(extension) = self.pool.get_extension_by_name("google.api.http") else { return };
        let options = method.options();
        if !options.has_extension(&extension) {
            return;
        }
        let rule = options.get_extension(&extension);
        let Some(rule) = rule.as_message() else { return };
        let more = rule.get_field_by_name("additional_bindings");
        let more = more.as_ref().and_then(|more| more.as_list()).unwrap_or_default();
        for rule in std::iter::once(rule).chain(more.iter().filter_map(Value::as_message)) {
            match binding(rule, number, method) {
                Ok(binding) => self.bindings.push(binding),
                Err(why) => wrong.push(format!("`{}`: {why}", method.full_name())),
            }
        }
    }

    /// What a request calls. `path` is canonical.
    pub(super) fn find(&self, verb: &Verb, path: &str, by_name: bool) -> Found<'_> {
        if by_name && let Some(number) = self.by_name.get(path) {
            let method = &self.methods[*number];
            return match verb {
                Verb::Post => Found::Call { method, binding: None, bound: Vec::new() },
                _ => Found::OtherMethod(vec!["POST"]),
            };
        }
        // what answers GET answers HEAD
        let verb = if *verb == Verb::Head { &Verb::Get } else { verb };
        let first = path[1.min(path.len())..].split('/').next().unwrap_or_default();
        // the verb of a template of one segment is part of it
        let first = super::template::decoded(first, false);
        let bare = first.rsplit_once(':').map(|(before, _)| before);
        let named = self.by_first.get(&first).into_iter();
        let named = named.chain(bare.and_then(|bare| self.by_first.get(bare)));
        let mut others = Vec::new();
        for &number in named.flatten().chain(&self.open) {
            let binding = &self.bindings[number];
            let Some(bound) = binding.template.matches(path) else { continue };
            match &binding.verb {
                Some(own) if own != verb => others.push(own.as_str()),
                _ => {
                    let method = &self.methods[binding.method];
                    return Found::Call { method, binding: Some(binding), bound };
                }
            }
        }
        others.dedup();
        if others.is_empty() { Found::Nothing } else { Found::OtherMethod(others) }
    }

    /// How many methods and bindings there are.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.methods.len(), self.bindings.len())
    }
}

fn binding(
    rule: &DynamicMessage,
    number: usize,
    method: &MethodDescriptor,
) -> Result<Binding, String> {
    let text = |message: &DynamicMessage, name: &str| {
        let value = message.get_field_by_name(name)?;
        value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let named = [
        ("get", Verb::Get),
        ("put", Verb::Put),
        ("post", Verb::Post),
        ("delete", Verb::Delete),
        ("patch", Verb::Patch),
    ];
    let named = named.into_iter().find_map(|(name, verb)| Some((Some(verb), text(rule, name)?)));
    let custom = || {
        let custom = rule.get_field_by_name("custom")?;
        let custom = custom.as_message()?;
        let kind = text(custom, "kind")?;
        let verb = (kind != "*").then(|| Verb::of(&kind.to_ascii_uppercase()));
        Some((verb, text(custom, "path")?))
    };
    let (verb, path) = named.or_else(custom).ok_or("a rule names no path")?;
    let template =
        Template::parse(&path).map_err(|why| format!("`{path}` is no path template: {why}"))?;
    let input = method.input();
    for field in template.fields() {
        leaf_of(&input, field).map_err(|why| format!("`{path}`: {why}"))?;
    }
    let body = match text(rule, "body").as_deref() {
        None => BodyOf::Nothing,
        Some("*") => BodyOf::Message,
        Some(name) => BodyOf::Field(
            input
                .get_field_by_name(name)
                .ok_or_else(|| format!("body: `{}` has no field `{name}`", input.full_name()))?,
        ),
    };
    let output = method.output();
    let response_body = match text(rule, "response_body") {
        None => None,
        Some(name) => Some(output.get_field_by_name(&name).ok_or_else(|| {
            format!("response_body: `{}` has no field `{name}`", output.full_name())
        })?),
    };
    Ok(Binding { verb, template, method: number, body, response_body })
}

/// The field at the end of a path of fields.
///
/// # Errors
/// Which of them is not there, or cannot be written as one text.
pub(super) fn leaf_of(
    message: &MessageDescriptor,
    path: &[String],
) -> Result<FieldDescriptor, String> {
    let (name, rest) = path.split_first().ok_or("it names no field")?;
    let by_json = || message.get_field_by_json_name(name);
    let field = message
        .get_field_by_name(name)
        .or_else(by_json)
        .ok_or_else(|| format!("`{}` has no field `{name}`", message.full_name()))?;
    match (field.kind(), rest) {
        (_, []) => Ok(field),
        (Kind::Message(inner), rest) if !field.is_list() && !field.is_map() => {
            leaf_of(&inner, rest)
        }
        _ => Err(format!("`{name}` has no fields of its own that could be named")),
    }
}
