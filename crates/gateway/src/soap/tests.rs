//! A service that is described, what is written for it and read of it.

use transom_settings::json::{Value as Json, json};

use super::envelope::{Opened, open, wrap};
use super::read::{plain, typed};
use super::write::{Prefixes, Unwritten, element};
use super::wsdl::Service;
use super::{Version, XSD};
use crate::content::xml::element::parse;

const ORDERS: &str = include_str!("../../../../tests/policies/orders.wsdl");

fn orders() -> Service {
    Service::read(ORDERS, &[], None, None).unwrap()
}

/// Longer than anything that is written here.
const LONG: usize = 100_000;

fn write(service: &Service, operation: &str, arguments: &Json) -> Result<String, Vec<String>> {
    let input = service.operation(operation).unwrap().input.clone().unwrap();
    let field = service.schema.element(&input).unwrap();
    let told = |why: Unwritten| match why {
        Unwritten::Unfit(wrong) => wrong.iter().map(ToString::to_string).collect(),
        Unwritten::TooLong => vec!["too long".to_owned()],
    };
    element(&service.schema, &Prefixes::of(&service.schema), field, arguments, LONG).map_err(told)
}

fn read(service: &Service, operation: &str, text: &str) -> Json {
    let output = service.operation(operation).unwrap().output.clone().unwrap();
    let found = parse(text).unwrap();
    assert_eq!(found.name, output);
    typed(&service.schema, service.schema.element(&output).unwrap().of, &found, &mut LONG.clone())
}

#[test]
fn gw_26_a_description_says_what_there_is() {
    let service = orders();
    assert_eq!((&*service.port, service.version), ("OrdersPort", Version::One));
    assert_eq!(service.path.as_deref(), Some("/services/orders"));
    assert_eq!(service.operation("GetOrder").unwrap().action, "urn:shop:orders#GetOrder");
    let why = service.operation("GetOrders").unwrap_err();
    assert_eq!(why, "the port `OrdersPort` has no operation `GetOrders`, but `GetOrder`");
    for (port, version, expected) in [
        (Some("OrdersPort12"), None, Some("/services/orders12")),
        (None, Some(Version::Two), Some("/services/orders12")),
        (Some("Nothing"), None, None),
        (Some("OrdersPort"), Some(Version::Two), None),
    ] {
        let found = Service::read(ORDERS, &[], port, version).ok().and_then(|found| found.path);
        assert_eq!(found.as_deref(), expected, "{port:?} {version:?}");
    }
}

#[test]
fn gw_26_what_cannot_be_spoken_is_refused_when_it_is_read() {
    for (from, to, why) in [
        ("style=\"document\"", "style=\"rpc\"", "is not document/literal"),
        ("use=\"literal\"", "use=\"encoded\"", "is not document/literal"),
        ("element=\"tns:GetOrder\"", "type=\"xsd:string\"", "has parts of types"),
        ("element=\"tns:GetOrder\"", "element=\"tns:Nothing\"", "is declared nowhere"),
        ("element=\"tns:GetOrder\"", "element=\"x:GetOrder\"", "prefix of `x:GetOrder`"),
        ("type=\"t:Item\"", "type=\"t:Nothing\"", "there is no type `Nothing`"),
        ("type=\"xsd:int\"", "type=\"xsd:intt\"", "XML Schema has no type `intt`"),
        ("binding=\"tns:OrdersSoap\"", "binding=\"tns:O\"", "there is no binding `O`"),
        ("#GetOrder\"", "#Get&quot;Order\"", "the action of `GetOrder` is no URI"),
        ("http://schemas.xmlsoap.org/wsdl/\"", "http://www.w3.org/ns/wsdl\"", "it is no WSDL 1.1"),
        ("<?xml version=\"1.0\" encoding=\"UTF-8\"?>", "<!DOCTYPE a>", "declares a type"),
        ("</wsdl:definitions>", "", "it ends too early"),
    ] {
        assert!(ORDERS.contains(from), "{from}");
        let found = Service::read(&ORDERS.replacen(from, to, 1), &[], None, None).unwrap_err();
        assert!(found.contains(why), "{to}: {found}");
    }
}

#[test]
fn gw_26_schemas_may_lead_to_themselves_and_stand_in_files_of_their_own() {
    let start = ORDERS.find("<xsd:schema targetNamespace=\"urn:shop:types\"").unwrap();
    let end = start + ORDERS[start..].find("</xsd:schema>").unwrap() + "</xsd:schema>".len();
    let without = format!("{}{}", &ORDERS[..start], &ORDERS[end..]);
    assert!(Service::read(&without, &[], None, None).is_err());
    let own = ORDERS[start..end].replacen(
        "<xsd:schema ",
        &format!("<xsd:schema xmlns:xsd=\"{XSD}\" xmlns:t=\"urn:shop:types\" "),
        1,
    );
    assert!(Service::read(&without, &[&own], None, None).is_ok());
    for circle in [
        "<xsd:group name=\"g\"><xsd:sequence><xsd:group ref=\"t:g\"/><xsd:group ref=\"t:g\"/></xsd:sequence></xsd:group>\
         <xsd:complexType name=\"C\"><xsd:group ref=\"t:g\"/></xsd:complexType>",
        "<xsd:complexType name=\"C\"><xsd:complexContent><xsd:extension base=\"t:C\"/></xsd:complexContent></xsd:complexType>",
        "<xsd:simpleType name=\"C\"><xsd:restriction base=\"t:C\"/></xsd:simpleType>",
    ] {
        let with = own.replace("</xsd:schema>", &format!("{circle}</xsd:schema>"));
        // refused or not: it ends
        drop(Service::read(&without, &[&with], None, None));
    }
    // attributes have simple types; what says otherwise may lead on for long
    let chain: String = (0..10_000)
        .map(|n| {
            let attribute = format!("<xsd:attribute name=\"a\" type=\"t:C{}\"/>", n + 1);
            format!("<xsd:complexType name=\"C{n}\">{attribute}</xsd:complexType>")
        })
        .collect();
    let last =
        "<xsd:simpleType name=\"C10000\"><xsd:restriction base=\"xsd:int\"/></xsd:simpleType>";
    let with = own.replace("</xsd:schema>", &format!("{chain}{last}</xsd:schema>"));
    let why = Service::read(&without, &[&with], None, None).unwrap_err();
    assert!(why.contains("lie too deep"), "{why}");
}

#[test]
fn gw_26_arguments_are_written_in_order_and_by_type() {
    let service = orders();
    assert_eq!(
        write(&service, "GetOrder", &json!({ "full": true, "id": "7" })).as_deref(),
        Ok("<n0:GetOrder><id>7</id><full>true</full></n0:GetOrder>")
    );
    let order = json!({
        "due": "2026-01-01", "id": 7, "customer": null,
        "item": [
            { "quantity": 2, "sku": "a<&>", "@line": 1 },
            { "sku": "b", "quantity": 1, "price": 1.5, "gift": false },
        ],
        "total": { "#text": 12.5, "@currency": "EUR" },
        "tags": ["new", "red"],
        "category": { "name": "all", "below": [{ "name": "one" }] },
    });
    assert_eq!(
        write(&service, "PlaceOrder", &order).as_deref(),
        Ok("<n0:PlaceOrder><id>7</id><customer xsi:nil=\"true\"/>\
            <item line=\"1\"><n1:sku>a&lt;&amp;&gt;</n1:sku><n1:quantity>2</n1:quantity></item>\
            <item><n1:sku>b</n1:sku><n1:quantity>1</n1:quantity><n1:price>1.5</n1:price>\
            <n1:gift>false</n1:gift></item><total currency=\"EUR\">12.5</total>\
            <tags>new red</tags><category><n1:name>all</n1:name><n1:below><n1:name>one</n1:name>\
            </n1:below></category><due>2026-01-01</due></n0:PlaceOrder>")
    );
}

#[test]
fn gw_26_little_does_not_become_much() {
    let service = orders();
    let many = |count| json!({ "id": 1, "customer": null, "due": "", "item": vec![json!({ "sku": "", "quantity": 0 }); count] });
    assert!(write(&service, "PlaceOrder", &many(1000)).is_ok());
    assert_eq!(write(&service, "PlaceOrder", &many(20_000)), Err(vec!["too long".to_owned()]));
    let words = json!({ "id": 1, "customer": null, "due": "", "tags": vec![f64::MAX; 2000] });
    assert_eq!(write(&service, "PlaceOrder", &words), Err(vec!["too long".to_owned()]));
    // lists that are not there are told as empty ones
    let below = |count| {
        let inside = "<t:below/>".repeat(count);
        let category = format!("<category><t:name>a</t:name>{inside}</category>");
        format!("<o:Order xmlns:o='urn:shop:orders' xmlns:t='urn:shop:types'>{category}</o:Order>")
    };
    let of =
        service.schema.element(&service.operation("GetOrder").unwrap().output.clone().unwrap());
    for (count, fits) in [(1000, true), (20_000, false)] {
        let mut left = LONG;
        typed(&service.schema, of.unwrap().of, &parse(&below(count)).unwrap(), &mut left);
        assert_eq!(left > 0, fits, "{count}");
    }
}

#[test]
fn gw_26_arguments_that_do_not_fit_are_named() {
    let service = orders();
    for (operation, arguments, expected) in [
        ("GetOrder", json!({}), &["body /id: is missing"][..]),
        ("GetOrder", json!({ "id": "x" }), &["body /id: must be a whole number"]),
        ("GetOrder", json!({ "id": null }), &["body /id: must not be null"]),
        ("GetOrder", json!({ "id": [1, 2] }), &["body /id: must be a whole number"]),
        (
            "GetOrder",
            json!({ "id": 1, "a/b": 1, "@c": 2 }),
            &["body /@c: is not known", "body /a~1b: is not known"],
        ),
        ("GetOrder", json!([]), &["body: must be an object"]),
        (
            "PlaceOrder",
            json!({ "id": 1, "customer": { "name": "A" }, "item": [{ "sku": "a", "quantity": 1.5 }, 7] }),
            &["body /item/0/quantity: must be a whole number", "body /item/1: must be an object"],
        ),
        (
            "PlaceOrder",
            json!({ "id": 1, "customer": null, "total": 5 }),
            &["body /total/@currency: is missing"],
        ),
        (
            "PlaceOrder",
            json!({ "id": 1, "customer": null, "tags": ["a b"] }),
            &["body /tags: has values with spaces, which a list cannot have"],
        ),
    ] {
        let told = write(&service, operation, &arguments).unwrap_err();
        assert_eq!(told, expected, "{arguments}");
    }
    let mut deep = json!({ "name": "a" });
    for _ in 0..100 {
        deep = json!({ "name": "a", "below": [deep] });
    }
    let told =
        write(&service, "PlaceOrder", &json!({ "id": 1, "customer": null, "category": deep }));
    assert!(told.unwrap_err().iter().any(|told| told.ends_with("lies too deep")));
}

#[test]
fn gw_26_results_are_read_by_type() {
    let service = orders();
    let order = "<o:Order xmlns:o='urn:shop:orders' xmlns='urn:shop:types' \
        xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'><id xmlns=''>9007199254740993</id>\
        <customer xmlns='' xmlns:t='urn:shop:types' xsi:type='t:Company'><t:name>A &amp; B</t:name>\
        <t:register>12</t:register></customer>\
        <item xmlns='' line='1'><sku xmlns='urn:shop:types'>7</sku><quantity xmlns='urn:shop:types'>2</quantity>\
        <price xmlns='urn:shop:types'>1.50</price><gift xmlns='urn:shop:types'>1</gift></item>\
        <total xmlns='' currency='EUR'>3.00</total><tags xmlns=''> new  red </tags>\
        <paid xmlns=''>2026-01-01T00:00:00Z</paid></o:Order>";
    assert_eq!(
        read(&service, "GetOrder", order),
        json!({
            "id": 9_007_199_254_740_993_i64,
            "customer": { "name": "A & B", "register": 12 },
            "item": [{ "@line": 1, "sku": "7", "quantity": 2, "price": 1.5, "gift": true }],
            "total": { "#text": 3.0, "@currency": "EUR" },
            "tags": ["new", "red"],
            "paid": "2026-01-01T00:00:00Z",
        })
    );
    let nothing = "<o:Order xmlns:o='urn:shop:orders' xmlns:i='http://www.w3.org/2001/XMLSchema-instance'>\
        <id>1</id><customer i:nil='true'/></o:Order>";
    let expected = json!({ "id": 1, "customer": null, "item": [] });
    assert_eq!(read(&service, "GetOrder", nothing), expected);
}

#[test]
fn gw_26_what_is_written_is_read_again_as_it_was() {
    let service = orders();
    let order = json!({
        "id": 7, "customer": { "name": " A\n" }, "item": [{ "sku": "a<&>\"'", "quantity": -2, "@line": 3 }],
        "total": { "#text": 0.1, "@currency": "\"&\n" }, "tags": ["x"],
        "category": { "name": "all", "below": [{ "name": "", "below": [] }] }, "due": "d",
    });
    let written = write(&service, "PlaceOrder", &order).unwrap();
    let declared = Prefixes::of(&service.schema).declared();
    let envelope = wrap(Version::Two, &declared, Some("<a/>"), &written);
    let Ok(Opened::Result(found)) = open(&envelope) else { panic!("{envelope}") };
    let of = service.schema.element(&found.name).unwrap().of;
    assert_eq!(typed(&service.schema, of, &found, &mut LONG.clone()), order);
}

#[test]
fn gw_26_without_types_all_is_text() {
    let found =
        parse("<p:a xmlns:p='u' p:x='1'><p:b>2</p:b><p:b>true</p:b><c/><d> <e>t</e> </d></p:a>");
    assert_eq!(
        plain(&found.unwrap()),
        json!({ "@x": "1", "b": ["2", "true"], "c": "", "d": { "e": "t" } })
    );
}

#[test]
fn gw_26_faults_of_both_versions_are_read() {
    let one = |inside: &str| {
        let fault = format!(
            "<s:Fault xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'>{inside}</s:Fault>"
        );
        wrap(Version::One, "", None, &fault)
    };
    let two = |inside: &str| {
        let fault = format!(
            "<s:Fault xmlns:s='http://www.w3.org/2003/05/soap-envelope'>{inside}</s:Fault>"
        );
        wrap(Version::Two, "", None, &fault)
    };
    for (envelope, names, reason, client) in [
        (
            one("<faultcode>soap:Client</faultcode><faultstring> no such order </faultstring>\
                 <detail><o:NoSuchOrder xmlns:o='urn:o'><id>7</id></o:NoSuchOrder></detail>"),
            &["NoSuchOrder", "Client"][..],
            "no such order",
            true,
        ),
        (
            one("<faultcode>Server.Busy</faultcode><faultstring/>"),
            &["Server.Busy", "Busy", "Server"],
            "",
            false,
        ),
        (
            one("<faultcode>Client.Authentication</faultcode>"),
            &["Client.Authentication", "Authentication", "Client"],
            "",
            true,
        ),
        (one(""), &[""], "", false),
        (
            two(
                "<s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>m:Late</s:Value></s:Subcode></s:Code>\
                 <s:Reason><s:Text xml:lang='en'>too late</s:Text></s:Reason><s:Detail>trace</s:Detail>",
            ),
            &["Late", "Sender"],
            "too late",
            true,
        ),
        (two("<s:Code><s:Value>s:Receiver</s:Value></s:Code>"), &["Receiver"], "", false),
    ] {
        let Ok(Opened::Fault(fault)) = open(&envelope) else { panic!("{envelope}") };
        assert_eq!(fault.names().collect::<Vec<_>>(), names, "{envelope}");
        assert_eq!((&*fault.reason, fault.blames_client()), (reason, client), "{envelope}");
    }
}

#[test]
fn g_06_what_is_no_envelope_is_refused() {
    let body = "<soap:Body/></soap:Envelope>";
    let start = "<soap:Envelope xmlns:soap='http://schemas.xmlsoap.org/soap/envelope/'>";
    assert!(matches!(open(&format!("{start}{body}")), Ok(Opened::Nothing)));
    for broken in [
        "",
        "<html/>",
        "<Envelope/>",
        "{}",
        &format!("{start}</soap:Envelope>"),
        &format!("<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>{start}{body}"),
        &format!("{start}<soap:Body>&b;</soap:Body></soap:Envelope>"),
        &format!(
            "{start}<soap:Body>{}</soap:Body></soap:Envelope>",
            "<a>".repeat(80) + &"</a>".repeat(80)
        ),
    ] {
        assert!(open(broken).is_err(), "{broken}");
    }
}
