//! The arguments of an operation: where they stand in a request, and what is said of those that do
//! not fit.

use std::collections::HashMap;

use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault, Place, Violation};
use transom_proxy::fields::Known;
use transom_proxy::message::Request;
use transom_settings::json::{Map, Value as Json};

use crate::content::Form;
use crate::content::xml::add;
use crate::escapes;
use crate::media;
use crate::pairs::of_query;
use crate::soap::schema::{Field, Schema, Type};
use crate::soap::write::Unwritten;

/// Where arguments stand that are not in the body, by their names.
pub(super) type From = HashMap<String, &'static str>;

/// What the body holds; null where there is none.
pub(super) async fn body(request: &mut Request, most: usize) -> Result<Json, Fault> {
    if request.body.is_empty() {
        return Ok(Json::Null);
    }
    let unsupported = |why| Err(Fault::new(Code::UnsupportedMedia, why));
    if !request.fields.all(Known::ContentEncoding).all(media::is_identity) {
        return unsupported("soap: the body is compressed");
    }
    let content_type = request.fields.get(Known::ContentType).unwrap_or_default();
    let content_type = std::str::from_utf8(content_type).unwrap_or_default();
    let Some(form @ (Form::Json | Form::Form)) = Form::of(&media::essence(content_type)) else {
        return unsupported("soap: the body is neither JSON nor a form");
    };
    let Some(bytes) = request.body.whole(most).await? else {
        return Err(Fault::new(Code::TooLarge, "soap: the body is over `max-body`"));
    };
    if bytes.is_empty() {
        return Ok(Json::Null);
    }
    form.read(content_type, &bytes).map_err(|why| {
        let place = Place::Pointer(String::new());
        refused(vec![Violation { place, detail: why.to_string() }], &From::new())
    })
}

/// All arguments for an element, and where they stand: variables of the path go before the query, and
/// that before the body.
pub(super) fn of(
    exchange: &Exchange,
    request: &Request,
    schema: &Schema,
    field: &Field,
    body: Json,
) -> Result<(Json, From), Fault> {
    let Type::Complex(complex) = schema.get(field.of) else { return Ok((body, From::new())) };
    let mut arguments = match body {
        Json::Null => Map::new(),
        Json::Object(map) => map,
        _ => {
            let place = Place::Pointer(String::new());
            let detail = "must be an object".to_owned();
            return Err(refused(vec![Violation { place, detail }], &From::new()));
        }
    };
    let mut from = From::new();
    let mut asked = Map::new();
    for (name, value) in of_query(request.query.as_deref().unwrap_or_default()) {
        add(&mut asked, escapes::text(&name), escapes::text(&value).into());
    }
    for (name, value) in asked {
        from.insert(name.clone(), "query");
        arguments.insert(name, value);
    }
    let router = &exchange.site.router;
    let path = exchange.asked.path.as_bytes();
    for (name, value) in exchange.captures.iter().flat_map(|found| router.captures(found, path)) {
        // what else is in the path is for the route
        if complex.fields.iter().any(|known| known.name.local == name) {
            from.insert(name.to_owned(), "path");
            arguments.insert(name.to_owned(), escapes::text(&escapes::undone(value)).into());
        }
    }
    Ok((Json::Object(arguments), from))
}

pub(super) fn unwritten(why: Unwritten, from: &From) -> Fault {
    match why {
        Unwritten::Unfit(wrong) => refused(wrong, from),
        Unwritten::TooLong => {
            Fault::new(Code::TooLarge, "soap: as an envelope the body is over `max-body`")
        }
    }
}

/// What the client is told of arguments that do not fit.
pub(super) fn refused(wrong: Vec<Violation>, from: &From) -> Fault {
    let placed = wrong.into_iter().map(|violation| match &violation.place {
        Place::Pointer(pointer) => {
            let first = pointer.get(1..).and_then(|rest| rest.split('/').next());
            let name = first.unwrap_or_default().replace("~1", "/").replace("~0", "~");
            match from.get(&name) {
                Some(place) => {
                    Violation { place: Place::Parameter(place, name), detail: violation.detail }
                }
                None => violation,
            }
        }
        Place::Parameter(..) => violation,
    });
    let placed: Vec<_> = placed.collect();
    let first = placed.first().map(Violation::to_string).unwrap_or_default();
    Fault::new(Code::BadRequest, format!("soap: {first}")).violations(placed)
}
