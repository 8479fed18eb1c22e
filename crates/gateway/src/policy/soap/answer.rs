//! What a service of SOAP answers, as REST has it.

use bytes::Bytes;
use transom_proxy::body::Body;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::Known;
use transom_proxy::message::{Response, reason};
use transom_settings::json::{Value as Json, json};

use super::{Calling, Calls};
use crate::content::coding::Coding;
use crate::content::xml::element::Element;
use crate::media;
use crate::soap::envelope::{Opened, SoapFault, open};
use crate::soap::read::{plain, typed};
use crate::soap::wsdl::Operation;

/// Of the reason of a fault, in the log; in letters.
const LONGEST_REMARK: usize = 200;

impl Calling {
    /// Makes JSON of an envelope. What is none passes where it is an error, such as one of a server
    /// before the service.
    pub(super) async fn answer(
        &self,
        exchange: &mut Exchange,
        operation: Option<&Operation>,
        response: &mut Response,
    ) -> Result<(), Fault> {
        let bad = |why: String| Fault::new(Code::BadResponse, format!("soap: {why}"));
        let content_type = response.fields.get(Known::ContentType).unwrap_or_default();
        let content_type = std::str::from_utf8(content_type).unwrap_or_default();
        if !media::is_xml(&media::essence(content_type)) {
            return match response.status {
                400.. => Ok(()),
                _ if response.body.is_empty() => Ok(()),
                _ => Err(bad("the service answers in something else than XML".to_owned())),
            };
        }
        if !response.fields.all(Known::ContentEncoding).all(media::is_identity) {
            return Err(bad("the response is compressed though it was not asked to be".to_owned()));
        }
        let coding = Coding::of_type(content_type).map_err(|why| bad(why.to_string()))?;
        let Some(bytes) = response.body.whole(self.written.max_body.len()).await? else {
            return Err(bad("the response is over `max-body`".to_owned()));
        };
        let text = coding.text(&bytes).map_err(|why| bad(why.to_string()))?;
        for name in ["ETag", "Content-MD5", "Content-Digest", "Repr-Digest", "Accept-Ranges"] {
            response.fields.remove(name);
        }
        response.fields.remove(Known::ContentLength);
        let opened = match text.is_empty() {
            true => Opened::Nothing,
            false => open(text).map_err(bad)?,
        };
        let (status, content_type, body) = match opened {
            Opened::Nothing => {
                response.fields.remove(Known::ContentType);
                response.body = Body::Empty;
                response.status = if response.status < 300 { 204 } else { response.status };
                return Ok(());
            }
            Opened::Result(element) => {
                let result = self.result(operation, &element);
                let result =
                    result.ok_or_else(|| bad("its result is over `max-body`".to_owned()))?;
                (response.status, "application/json", result)
            }
            Opened::Fault(fault) => {
                let told: String = fault.reason.chars().take(LONGEST_REMARK).collect();
                exchange.record.remark(format!("soap: fault {}: {told}", fault.code));
                let status = self.status(&fault);
                (status, "application/problem+json", self.told(exchange, status, fault))
            }
        };
        response.status = status;
        response.fields.set(Known::ContentType, content_type.as_bytes());
        response.body = Body::of(Bytes::from(body.to_string()));
        Ok(())
    }

    /// Nothing where it would be too long.
    fn result(&self, operation: Option<&Operation>, element: &Element) -> Option<Json> {
        let Calls::Described { service, .. } = &self.calls else { return Some(plain(element)) };
        let expected = operation.and_then(|operation| operation.output.as_ref());
        let expected = expected.filter(|name| **name == element.name);
        match expected.and_then(|name| service.schema.element(name)) {
            Some(field) => {
                let mut left = self.written.max_body.len();
                let result = typed(&service.schema, field.of, element, &mut left);
                (left > 0).then_some(result)
            }
            None => Some(plain(element)),
        }
    }

    fn status(&self, fault: &SoapFault) -> u16 {
        let named = |name: &str| {
            let mut all = self.written.faults.iter();
            all.find(|(known, _)| known.value == name).map(|(_, status)| status.code())
        };
        let otherwise = if fault.blames_client() { 400 } else { 502 };
        fault.names().find_map(named).unwrap_or(otherwise)
    }

    /// RFC 9457, with the fault of the service.
    fn told(&self, exchange: &Exchange, status: u16, fault: SoapFault) -> Json {
        let code = fault.subcode.unwrap_or(fault.code);
        let mut told = json!({
            "type": "about:blank",
            "title": reason(status),
            "status": status,
            "detail": fault.reason,
            "fault": code,
            "request_id": exchange.id.to_string(),
        });
        if let (true, Some(detail)) = (self.written.fault_detail, fault.detail) {
            told["fault_detail"] = Json::Object(detail);
        }
        told
    }
}
