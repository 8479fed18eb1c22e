//! The policy `soap`: clients of REST call a service of SOAP.

use serde_json::{Value, json};
use transom_testkit::{Endpoint, Http2, Received, Response, Transom, client};

use super::rig::{TRANSOM, check};

const ORDERS: &str = include_str!("../policies/orders.wsdl");

/// An envelope in the version of the request, in another prefix than it has.
fn envelope(request: &Received, body: &str) -> String {
    let new = request.field("content-type").is_some_and(|own| own.starts_with("application/soap"));
    let space = match new {
        true => "http://www.w3.org/2003/05/soap-envelope",
        false => "http://schemas.xmlsoap.org/soap/envelope/",
    };
    format!(
        "<?xml version=\"1.0\"?><E:Envelope xmlns:E=\"{space}\"><E:Body>{body}</E:Body></E:Envelope>"
    )
}

fn answer(status: &str, media: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media}\r\nETag: \"1\"\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// A service with the operations of the description, which looks at text alone.
fn service() -> Endpoint {
    Endpoint::new(|request, line| {
        let asked = request.text();
        let own = |inside: &str| envelope(request, inside);
        let fault = |code: &str, text: &str, detail: &str| {
            let parts = format!(
                "<faultcode>E:{code}</faultcode><faultstring>{text}</faultstring><detail>{detail}</detail>"
            );
            answer("500 Oops", "text/xml", &own(&format!("<E:Fault>{parts}</E:Fault>")))
        };
        let order = "<o:Order xmlns:o=\"urn:shop:orders\" xmlns:t=\"urn:shop:types\"><id>7</id>\
            <customer><t:name>Ada</t:name></customer>\
            <item><t:sku>lamp</t:sku><t:quantity>1</t:quantity></item><paid>2026-01-01T00:00:00Z</paid></o:Order>";
        line.send(if asked.contains("<id>7</id>") {
            answer("200 OK", "text/xml; charset=utf-8", &own(order))
        } else if asked.contains("<id>8</id>") {
            let detail = "<o:NoSuchOrder xmlns:o=\"urn:shop:orders\"><id>8</id></o:NoSuchOrder><trace>at Main.java:7</trace>";
            fault("Client", "there is no order 8", detail)
        } else if asked.contains("<id>9</id>") {
            fault("Server", "the database is away", "")
        } else if asked.contains("<id>10</id>") {
            answer("200 OK", "text/html", "<html/>")
        } else if asked.contains("<id>11</id>") {
            answer("503 Busy", "text/html", "<html/>")
        } else if asked.contains("<id>12</id>") {
            answer("200 OK", "text/xml", "<!DOCTYPE a [<!ENTITY b \"b\">]><a>&b;</a>")
        } else if asked.contains("<id>13</id>") {
            answer("200 OK", "text/xml", &own(&format!("<a>{}</a>", "x".repeat(70_000))))
        } else if asked.contains("<id>14</id>") {
            answer("200 OK", "text/xml; charset=utf-7", &own(order))
        } else if asked.contains("PlaceOrder") {
            answer("200 OK", "text/xml", &own("<Placed xmlns=\"urn:shop:orders\"><id xmlns=\"\">77</id></Placed>"))
        } else if asked.contains("Quote") {
            answer("200 OK", "text/xml", &own("<q:price xmlns:q=\"urn:prices\"><amount>1.50</amount></q:price>"))
        } else if asked.contains("Forget") {
            "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_owned()
        } else {
            answer("400 Bad", "text/plain", "not understood")
        });
    })
}

struct Shop {
    transom: Transom,
    service: Endpoint,
}

impl Shop {
    fn open() -> Self {
        let service = service();
        let config = format!(
            "listeners:\n  \
               web:\n    \
                 address: '@WEB'\n    \
                 routes:\n    \
                 - {{ match: {{ path: '/orders/{{id}}', method: GET }}, policies: [get], forward: '{0}' }}\n    \
                 - {{ match: {{ path: /orders, method: POST }}, policies: [place], forward: '{0}' }}\n    \
                 - {{ match: {{ path: '/rpc/**' }}, policies: [rpc], forward: '{0}' }}\n    \
                 - {{ match: {{ path: '/new/{{id}}' }}, policies: [new], forward: '{0}' }}\n    \
                 - {{ match: {{ path: '/prices/{{sku}}' }}, policies: [quote], forward: '{0}' }}\n    \
                 - {{ match: {{ path: '/forget' }}, policies: [forget], forward: '{0}' }}\n\
             policies:\n  \
               get: {{ soap: {{ wsdl: orders.wsdl, operation: GetOrder, faults: {{ NoSuchOrder: 404 }}, max-body: 64KiB }} }}\n  \
               place: {{ soap: {{ wsdl: orders.wsdl, operation: PlaceOrder }} }}\n  \
               rpc: {{ soap: {{ wsdl: orders.wsdl, fault-detail: true, path: /elsewhere }} }}\n  \
               new: {{ soap: {{ wsdl: orders.wsdl, operation: GetOrder, version: '1.2' }} }}\n  \
               quote:\n    \
                 soap:\n      \
                   action: 'urn:prices#Quote'\n      \
                   header: '<w:User xmlns:w=\"urn:w\">{{{{ request.query.as }}}}</w:User>'\n      \
                   template: '<p:Quote xmlns:p=\"urn:prices\"><p:sku>{{{{ request.capture.sku }}}}</p:sku></p:Quote>'\n  \
               forget: {{ soap: {{ template: '<Forget/>' }} }}\n",
            service.address,
        );
        let transom = Transom::run_with(TRANSOM, &config, |folder| {
            std::fs::write(folder.join("orders.wsdl"), ORDERS).unwrap();
        });
        Shop { transom, service }
    }

    fn get(&self, target: &str) -> Response {
        self.ask(&format!("GET {target}"), "Accept: application/json\r\n", "")
    }

    fn ask(&self, start: &str, lines: &str, body: &str) -> Response {
        let length = body.len();
        let head =
            format!("{start} HTTP/1.1\r\nHost: a\r\n{lines}Content-Length: {length}\r\n\r\n");
        client::ask(self.transom.web(), head + body)
    }

    fn seen(&self) -> Received {
        self.service.requests().pop().expect("the service was asked")
    }
}

fn json_of(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or_else(|_| panic!("{}", response.text()))
}

#[test]
fn gw_26_a_path_becomes_an_envelope_and_its_result_json() {
    let shop = Shop::open();
    let expected = json!({
        "id": 7, "customer": { "name": "Ada" },
        "item": [{ "sku": "lamp", "quantity": 1 }], "paid": "2026-01-01T00:00:00Z",
    });
    let response =
        shop.ask("GET /orders/7?full=true", "Accept-Encoding: gzip\r\nIf-None-Match: x\r\n", "");
    assert_eq!((response.status, json_of(&response)), (200, expected.clone()));
    assert_eq!(response.field("content-type"), Some("application/json"));
    assert_eq!(response.field("etag"), None);
    let seen = shop.seen();
    assert_eq!((&*seen.method, &*seen.target), ("POST", "/services/orders"));
    assert_eq!(seen.field("content-type"), Some("text/xml; charset=utf-8"));
    assert_eq!(seen.field("soapaction"), Some("\"urn:shop:orders#GetOrder\""));
    assert_eq!((seen.field("accept-encoding"), seen.field("if-none-match")), (None, None));
    assert_eq!(seen.field("content-length"), Some(seen.body.len().to_string().as_str()));
    assert!(
        seen.text().contains(
            "<soap:Body><n0:GetOrder><id>7</id><full>true</full></n0:GetOrder></soap:Body>"
        )
    );

    let response = shop.get("/new/7");
    assert_eq!((response.status, json_of(&response)), (200, expected.clone()));
    let seen = shop.seen();
    assert_eq!(seen.target, "/services/orders12");
    let media = "application/soap+xml; charset=utf-8; action=\"urn:shop:orders#GetOrder\"";
    assert_eq!((seen.field("content-type"), seen.field("soapaction")), (Some(media), None));

    let mut client = Http2::connect(shop.transom.web());
    let response = client.get("/orders/7");
    assert_eq!(serde_json::from_slice::<Value>(&response.body).unwrap(), expected);
    let head = shop.ask("HEAD /orders/7", "", "");
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn gw_26_arguments_stand_in_bodies_of_json_or_forms() {
    let shop = Shop::open();
    let order =
        json!({ "due": "d", "id": 1, "customer": null, "item": [{ "quantity": 2, "sku": "<&>" }] });
    let response =
        shop.ask("POST /orders", "Content-Type: application/json\r\n", &order.to_string());
    assert_eq!((response.status, json_of(&response)), (200, json!({ "id": 77 })));
    assert!(shop.seen().text().contains(
        "<n0:PlaceOrder><id>1</id><customer xsi:nil=\"true\"/><item><n1:sku>&lt;&amp;&gt;</n1:sku>\
         <n1:quantity>2</n1:quantity></item><due>d</due></n0:PlaceOrder>"
    ));
    // the last segment of the path names the operation
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let response = shop.ask("POST /rpc/v1/GetOrder", form, "id=7&full=0");
    assert_eq!((response.status, &json_of(&response)["id"]), (200, &json!(7)));
    assert_eq!(shop.seen().target, "/elsewhere");
    assert_eq!(shop.get("/rpc/Nothing").status, 404);
}

#[test]
fn gw_26_arguments_that_do_not_fit_never_reach_the_service() {
    let shop = Shop::open();
    for (target, expected) in [
        (
            "/orders/x",
            json!([{ "detail": "must be a whole number", "in": "path", "parameter": "id" }]),
        ),
        ("/orders/7?b=1", json!([{ "detail": "is not known", "in": "query", "parameter": "b" }])),
        (
            "/orders/7?full=1&full=0",
            json!([{ "detail": "must be `true` or `false`", "in": "query", "parameter": "full" }]),
        ),
    ] {
        let response = shop.get(target);
        assert_eq!((response.status, &json_of(&response)["errors"]), (400, &expected), "{target}");
    }
    let place = |media: &str, body: &str| {
        let lines = format!("Accept: application/json\r\nContent-Type: {media}\r\n");
        let response = shop.ask("POST /orders", &lines, body);
        (response.status, json_of(&response)["errors"][0]["pointer"].clone())
    };
    assert_eq!(
        place("application/json", r#"{"id":1,"customer":null,"item":[{}]}"#),
        (400, json!("#/item/0/sku"))
    );
    assert_eq!(place("application/json", "{"), (400, json!("#")));
    assert_eq!(place("application/json", "[]"), (400, json!("#")));
    assert_eq!(place("text/xml", "<a/>"), (415, json!(null)));
    assert_eq!(place("application/json", &" ".repeat(2 << 20)), (413, json!(null)));
    // short as JSON, and too long as XML
    let items = r#"{"sku":"","quantity":0},"#.repeat(40_000);
    let long =
        format!(r#"{{"id":1,"customer":null,"due":"","item":[{}]}}"#, &items[..items.len() - 1]);
    assert_eq!(place("application/json", &long), (413, json!(null)));
    assert!(shop.service.requests().is_empty());
}

#[test]
fn gw_26_faults_of_the_service_are_faults_of_http() {
    let shop = Shop::open();
    let told = |response: &Response| {
        assert_eq!(response.field("content-type"), Some("application/problem+json"));
        let body = json_of(response);
        assert_eq!(body["status"], response.status);
        (
            response.status,
            body["detail"].clone(),
            body["fault"].clone(),
            body["fault_detail"].clone(),
        )
    };
    let missing = json!("there is no order 8");
    assert_eq!(told(&shop.get("/orders/8")), (404, missing.clone(), json!("Client"), json!(null)));
    let detail = json!({ "NoSuchOrder": { "id": "8" }, "trace": "at Main.java:7" });
    assert_eq!(told(&shop.get("/rpc/GetOrder?id=8")), (400, missing, json!("Client"), detail));
    let away = json!("the database is away");
    assert_eq!(told(&shop.get("/orders/9")), (502, away, json!("Server"), json!(null)));
    let log = shop.transom.lines_when(3);
    let line = log.iter().find(|line| line["path"] == "/orders/8").unwrap();
    assert!(line.to_string().contains("soap: fault Client: there is no order 8"), "{line}");
}

#[test]
fn g_06_what_is_not_soap_is_no_answer() {
    let shop = Shop::open();
    for (target, status, code) in [
        ("/orders/10", 502, json!("bad-response")),
        ("/orders/12", 502, json!("bad-response")),
        ("/orders/13", 502, json!("bad-response")),
        ("/orders/14", 502, json!("bad-response")),
    ] {
        let response = shop.get(target);
        assert_eq!((response.status, &json_of(&response)["code"]), (status, &code), "{target}");
    }
    // of a server before the service
    let response = shop.get("/orders/11");
    assert_eq!((response.status, &*response.text()), (503, "<html/>"));
}

#[test]
fn gw_26_a_template_writes_what_is_not_described() {
    let shop = Shop::open();
    let response = shop.get("/prices/a%3Cb?as=%3C%2Fw:User%3E%00x");
    assert_eq!((response.status, json_of(&response)), (200, json!({ "amount": "1.50" })));
    let seen = shop.seen();
    assert_eq!(seen.field("soapaction"), Some("\"urn:prices#Quote\""));
    assert!(
        seen.text().ends_with(
            "<soap:Header><w:User xmlns:w=\"urn:w\">&lt;&#x2f;w:User&gt;\u{fffd}x</w:User></soap:Header>\
             <soap:Body><p:Quote xmlns:p=\"urn:prices\"><p:sku>a&lt;b</p:sku></p:Quote></soap:Body></soap:Envelope>"
        ),
        "{}",
        seen.text()
    );
    let response = shop.get("/forget");
    assert_eq!((response.status, response.body.len()), (202, 0));
}

#[test]
fn gw_26_what_cannot_be_called_is_found_by_check() {
    let said = |settings: &str| {
        let config = format!(
            "listeners:\n  web: {{ address: 127.0.0.1:0, routes: [{{ policies: [{{ soap: {settings} }}], respond: ok }}] }}\n"
        );
        check(&config, |folder| std::fs::write(folder.join("orders.wsdl"), ORDERS).unwrap())
    };
    for (settings, what) in [
        (
            "{ wsdl: orders.wsdl, operation: GetOrders }",
            "has no operation `GetOrders`, but `GetOrder`",
        ),
        ("{ wsdl: orders.wsdl, port: Nothing }", "it has no port `Nothing`"),
        ("{ wsdl: transom.yaml }", "`transom.yaml` cannot be used: it is no XML"),
        ("{ template: '<a>' }", "the template cannot be used: without any values, it is no XML"),
        ("{ template: '{% if %}' }", "the template cannot be used: "),
        ("{ template: '<a/>', path: services }", "`services` is no path"),
        ("{}", "exactly one of `wsdl`, `template` and `template-file` is given"),
        ("{ template: '<a/>', wsdl: orders.wsdl }", "exactly one of"),
        ("{ wsdl: orders.wsdl, version: 2 }", "2"),
    ] {
        let said = said(settings);
        assert!(said.contains(what) && said.contains("transom.yaml:2:"), "{settings}: {said}");
    }
    assert!(
        said("{ wsdl: orders.wsdl }").contains("is valid")
            || !said("{ wsdl: orders.wsdl }").contains("error")
    );
}
