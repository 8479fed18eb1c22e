// The page of a portal. Everything that comes from a document or from an endpoint becomes text, never markup.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete", "head", "options", "trace"];
let catalog = { title: "APIs", apis: [], consumer: null, keys: false, quotas: null };
// what is sent with tries: known to this page alone, until it is closed
const credential = { name: "", value: "" };

/** An element; strings among the children become text. */
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(9).filter((child) => child !== null && child !== undefined));
  return element;
}

const show = (...children) => document.getElementById("main").replaceChildren(...children.flat(9).filter(Boolean));
const day = (moment) => (moment || "").replace("T00:00:00Z", "");
const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));
const paragraphs = (text) => (text || "").split(/\n\s*\n/).filter(Boolean).map((part) => make("p", null, part));

async function ask(path, options) {
  const response = await fetch(path, { cache: "no-store", ...options });
  const text = await response.text();
  let value = null;
  try { value = text ? JSON.parse(text) : null; } catch { value = { detail: text }; }
  if (!response.ok) throw new Error((value && (value.detail || value.title)) || `it answers ${response.status}`);
  return value;
}

/** A change, which only a page of this portal can ask for. */
const change = (method, path, body) =>
  ask(path, { method, headers: { "Content-Type": "application/json", "X-Portal": "1" }, body: JSON.stringify(body || {}) });

// ---- documents ----

function resolve(document, value, seen = 0) {
  if (!value || typeof value.$ref !== "string" || seen > 9) return value || {};
  if (!value.$ref.startsWith("#/")) return {};
  const parts = value.$ref.slice(2).split("/").map((part) => part.replace(/~1/g, "/").replace(/~0/g, "~"));
  const found = parts.reduce((at, part) => (at && Object.hasOwn(at, part) ? at[part] : undefined), document);
  return resolve(document, found, seen + 1);
}

const nameOf = (value) => (value && typeof value.$ref === "string" ? value.$ref.split("/").pop() : "");

function typeOf(document, written) {
  const schema = resolve(document, written);
  const name = nameOf(written);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  const either = schema.oneOf || schema.anyOf;
  if (either) return either.map((one) => typeOf(document, one)).join(" | ");
  const types = [].concat(schema.type || (schema.properties ? "object" : name ? [] : "any"));
  const text = types.map((type) => {
    if (type === "array") return `list of ${typeOf(document, schema.items || {})}`;
    if (type === "object" && name) return name;
    return schema.format && type === "string" ? schema.format : type;
  });
  return text.join(" | ") || name || "any";
}

function limits(schema) {
  const told = [];
  const bound = (key, text) => { if (schema[key] !== undefined) told.push(`${text} ${schema[key]}`); };
  bound("minimum", "≥"); bound("maximum", "≤"); bound("exclusiveMinimum", ">"); bound("exclusiveMaximum", "<");
  bound("minLength", "at least letters:"); bound("maxLength", "at most letters:");
  bound("minItems", "at least items:"); bound("maxItems", "at most items:");
  bound("pattern", "like"); bound("default", "unless given");
  return told.join(", ");
}

/** The fields of an object, or of the items of a list. */
function schemaTree(document, written, depth = 0, path = []) {
  const schema = resolve(document, written);
  const name = nameOf(written);
  if (depth > 6 || (name && path.includes(name))) return null;
  const below = name ? [...path, name] : path;
  if (schema.items) return schemaTree(document, schema.items, depth, below);
  const parts = [schema, ...(schema.allOf || []).map((part) => resolve(document, part))];
  const required = new Set(parts.flatMap((part) => part.required || []));
  const fields = parts.flatMap((part) => Object.entries(part.properties || {}));
  if (!fields.length) {
    const one = (schema.oneOf || schema.anyOf || []).find((part) => resolve(document, part).type !== "null");
    return one ? schemaTree(document, one, depth, below) : null;
  }
  return make("ul", { class: "schema" }, fields.map(([field, value]) => {
    const own = resolve(document, value);
    return make("li", null,
      make("code", null, field), required.has(field) ? make("span", { class: "must", title: "required" }, " *") : null, " ",
      make("span", { class: "quiet" }, [typeOf(document, value), limits(own)].filter(Boolean).join("; ")),
      own.description ? [" – ", own.description] : null,
      schemaTree(document, value, depth + 1, below));
  }));
}

/** A value that fits, where the document gives none. */
function sample(document, written, depth = 0) {
  const schema = resolve(document, written);
  if (schema.example !== undefined) return schema.example;
  if (Array.isArray(schema.examples) && schema.examples.length) return schema.examples[0];
  if (schema.default !== undefined) return schema.default;
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return schema.enum[0];
  if (depth > 5) return null;
  const one = (schema.oneOf || schema.anyOf || []).find((part) => resolve(document, part).type !== "null");
  if (one) return sample(document, one, depth + 1);
  const parts = [schema, ...(schema.allOf || []).map((part) => resolve(document, part))];
  const fields = parts.flatMap((part) => Object.entries(part.properties || {}));
  if (fields.length) return Object.fromEntries(fields.map(([name, value]) => [name, sample(document, value, depth + 1)]));
  const type = [].concat(schema.type || "object").find((type) => type !== "null");
  if (type === "array") return [sample(document, schema.items || {}, depth + 1)];
  return { string: "text", integer: schema.minimum ?? 1, number: schema.minimum ?? 1, boolean: true }[type] ?? {};
}

function exampleOf(document, media) {
  if (media.example !== undefined) return media.example;
  const first = Object.values(media.examples || {})[0];
  if (first) return resolve(document, first).value;
  return media.schema ? sample(document, media.schema) : undefined;
}

function content(document, written) {
  return Object.entries(resolve(document, written).content || {}).map(([type, media]) => {
    const example = exampleOf(document, media);
    return [
      make("p", { class: "quiet" }, make("code", null, type), media.schema ? ` – ${typeOf(document, media.schema)}` : ""),
      media.schema ? schemaTree(document, media.schema) : null,
      example === undefined ? null : make("pre", null, pretty(example)),
    ];
  });
}

// ---- an operation ----

function operations(document) {
  const found = [];
  for (const [path, item] of Object.entries(document.paths || {})) {
    const own = resolve(document, item);
    for (const method of METHODS) {
      if (!own[method]) continue;
      const operation = own[method];
      const parameters = new Map();
      for (const written of [...(own.parameters || []), ...(operation.parameters || [])]) {
        const parameter = resolve(document, written);
        parameters.set(`${parameter.in} ${parameter.name}`, parameter);
      }
      found.push({ path, method, operation, parameters: [...parameters.values()] });
    }
  }
  return found;
}

function operationView(document, version, { path, method, operation, parameters }) {
  const summary = make("summary", null,
    make("span", { class: `method ${method.toUpperCase()}` }, method.toUpperCase()),
    make("span", { class: "path" }, path),
    operation.deprecated ? make("span", { class: "badge deprecated" }, "deprecated") : null,
    make("span", { class: "says" }, operation.summary || ""));
  const inside = make("div");
  const details = make("details", { class: `operation${operation.deprecated ? " gone" : ""}`, id: operation.operationId }, summary, inside);
  // large documents are drawn where they are looked at
  details.addEventListener("toggle", () => {
    if (!details.open || inside.hasChildNodes()) return;
    const body = operation.requestBody ? resolve(document, operation.requestBody) : null;
    inside.append(
      ...paragraphs(operation.description),
      ...(parameters.length ? [make("h3", null, "Parameters"), parameterTable(document, parameters)] : []),
      ...(body ? [make("h3", null, body.required ? "Body, required" : "Body"), ...content(document, body).flat(9).filter(Boolean)] : []),
      make("h3", null, "Answers"),
      ...Object.entries(operation.responses || {}).map(([status, written]) => {
        const response = resolve(document, written);
        return make("div", null, make("p", null, make("code", null, status), " ", response.description || ""), content(document, response));
      }),
      tryForm(document, version, { path, method, parameters, body }));
  });
  return details;
}

function parameterTable(document, parameters) {
  const row = (parameter) => make("tr", null,
    make("td", null, make("code", null, parameter.name), parameter.required ? make("span", { class: "must" }, " *") : null),
    make("td", { class: "quiet" }, parameter.in),
    make("td", null, typeOf(document, parameter.schema || {}),
      make("span", { class: "quiet" }, " ", limits(resolve(document, parameter.schema || {})))),
    make("td", null, parameter.description || ""));
  const head = make("tr", null, ["Name", "In", "Type", ""].map((text) => make("th", null, text)));
  return make("table", null, make("thead", null, head), make("tbody", null, parameters.map(row)));
}

// ---- trying out ----

function tryForm(document, version, { path, method, parameters, body }) {
  const inputs = new Map();
  const field = (parameter) => {
    const value = parameter.example ?? (parameter.required && parameter.schema ? sample(document, parameter.schema) : "");
    const input = make("input", { name: parameter.name, value: typeof value === "object" ? JSON.stringify(value) : String(value), required: parameter.required, autocomplete: "off" });
    inputs.set(parameter, input);
    return make("label", null, make("span", null, make("code", null, parameter.name), make("span", { class: "quiet" }, ` ${parameter.in}`)), input);
  };
  const fields = parameters.filter((parameter) => parameter.in !== "cookie").map(field);
  const [type, media] = Object.entries(body?.content || {})[0] || [];
  const text = media ? make("textarea", { spellcheck: "false", "aria-label": "Body" }) : null;
  if (text) text.value = pretty(exampleOf(document, media) ?? "");
  const own = (key, placeholder, type) => make("input", {
    placeholder, type, value: credential[key], autocomplete: "off", "aria-label": placeholder,
    oninput: (event) => { credential[key] = event.target.value; },
  });
  const outcome = make("div", { "aria-live": "polite" });
  const button = make("button", { type: "submit" }, "Send");
  const request = () => {
    let target = path;
    const query = new URLSearchParams();
    const headers = new Headers();
    for (const [parameter, input] of inputs) {
      const value = input.value;
      if (parameter.in === "path") target = target.replaceAll(`{${parameter.name}}`, encodeURIComponent(value));
      else if (value === "") continue;
      else if (parameter.in === "query") query.append(parameter.name, value);
      else headers.set(parameter.name, value);
    }
    if (version["asked-by"].startsWith("?")) {
      const [name, value] = version["asked-by"].slice(1).split("=");
      query.append(name, value);
    } else if (version["asked-by"]) {
      const at = version["asked-by"].indexOf(":");
      headers.set(version["asked-by"].slice(0, at), version["asked-by"].slice(at + 1).trim());
    }
    if (credential.name && credential.value) headers.set(credential.name, credential.value);
    if (text && text.value) headers.set("Content-Type", type);
    const server = document.servers?.[0]?.url || "";
    const url = new URL(server.replace(/\/$/, "") + target, location.origin);
    url.search = query.toString();
    return { url, options: { method: method.toUpperCase(), headers, body: text && text.value ? text.value : undefined, credentials: "same-origin", redirect: "follow" } };
  };
  const send = async (event) => {
    event.preventDefault();
    button.disabled = true;
    const began = performance.now();
    try {
      const { url, options } = request();
      const response = await fetch(url, options);
      const answer = await response.text();
      const took = Math.round(performance.now() - began);
      let shown = answer;
      try { shown = JSON.stringify(JSON.parse(answer), null, 2); } catch { /* it is no JSON */ }
      const head = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
      outcome.replaceChildren(
        make("h3", null, `${response.status} ${response.statusText} after ${took} ms`),
        make("pre", null, head), shown ? make("pre", null, shown.slice(0, 200_000)) : "",
        make("h3", null, "The same from a shell"), make("pre", null, curl(url, options)));
    } catch (error) {
      outcome.replaceChildren(make("p", { class: "notice bad" }, `It could not be sent: ${error.message}`));
    } finally {
      button.disabled = false;
    }
  };
  return make("form", { class: "try", onsubmit: send }, make("h3", null, "Try it"), fields, text,
    make("label", null, own("name", "Credential's header, such as X-Key"), own("value", "its value", "password")),
    make("div", { class: "row" }, button, make("span", { class: "quiet" }, "This is a real request.")), outcome);
}

function curl(url, { method, headers, body }) {
  const quoted = (text) => `'${String(text).replaceAll("'", `'\\''`)}'`;
  const parts = [`curl -i -X ${method} ${quoted(url)}`];
  for (const [name, value] of headers) {
    const secret = name === credential.name.toLowerCase();
    parts.push(`-H ${quoted(`${name}: ${secret ? "..." : value}`)}`);
  }
  if (body) parts.push(`--data ${quoted(body)}`);
  return parts.join(" \\\n  ");
}

// ---- views ----

const badge = (version) => make("span", { class: `badge ${version.age}` }, version.age);
const link = (api, version) => `#/${encodeURIComponent(api.name)}/${encodeURIComponent(version.name)}`;

function overview() {
  const cards = catalog.apis.map((api) => make("section", { class: "card" },
    make("h2", null, make("a", { href: link(api, api.versions.find((one) => one.default) || api.versions.at(-1)) }, api.title)),
    make("p", { class: "quiet" }, api.description || ""),
    make("div", { class: "row" }, api.versions.map((version) =>
      make("a", { href: link(api, version) }, version.name, " ", badge(version))))));
  show(make("h1", null, catalog.title),
    make("p", { class: "quiet" }, catalog.apis.length ? "What is offered, in which versions, and until when." : "Nothing is published here yet."),
    make("div", { class: "cards" }, cards), quotaTable());
}

/** What was used when the page was opened. */
function quotaTable() {
  if (!catalog.quotas?.length) return null;
  const row = ({ quota, policy, used, left, resets }) => make("tr", null,
    make("td", null, quota), make("td", { class: "quiet" }, policy),
    make("td", null, used ?? "unknown"), make("td", null, left ?? "unknown"),
    make("td", null, make("time", { datetime: resets }, resets ? new Date(resets).toLocaleString() : "")));
  return [make("h2", null, "Your quotas"), make("table", null,
    make("thead", null, make("tr", null, ["Quota", "Of", "Used", "Left", "Begins anew"].map((text) => make("th", null, text)))),
    make("tbody", null, catalog.quotas.map(row)))];
}

function lifeOf(api, version) {
  if (version.age === "published" && !version.deprecated) return null;
  const next = version.successor;
  const text = {
    published: `This version will be deprecated on ${day(version.deprecated)}.`,
    deprecated: `This version is deprecated since ${day(version.deprecated)}.`,
    sunset: `This version is deprecated and ends on ${day(version.sunset)}.`,
    retired: `This version ended on ${day(version.sunset)}; it answers 410.`,
  }[version.age];
  const own = api.versions.find((one) => one.name === next);
  return make("p", { class: `notice${version.age === "retired" ? " bad" : ""}` }, text,
    own ? [" It is followed by ", make("a", { href: link(api, own) }, own.name), "."] : null,
    version.documentation ? [" ", make("a", { href: version.documentation, rel: "noreferrer" }, "How to move"), "."] : null);
}

async function apiView(api, version) {
  const facts = make("dl", { class: "facts" },
    make("dt", null, "Where"), make("dd", null, make("code", null, version.url),
      version["asked-by"] ? [" with ", make("code", null, version["asked-by"])] : null),
    version.document ? [make("dt", null, "Document"), make("dd", null, make("a", { href: version.document }, "OpenAPI, as JSON"))] : null,
    catalog.consumer ? [make("dt", null, "Your calls"), make("dd", null, `${version.calls} since the gateway started`)] : null);
  const head = [make("h1", null, api.title, " ", make("span", { class: "quiet" }, version.name), " ", badge(version)),
    make("p", { class: "quiet" }, api.description || ""), lifeOf(api, version), facts];
  if (!version.document) {
    show(head, make("p", { class: "quiet" }, "This version has no document."));
    return;
  }
  show(head, make("p", { class: "quiet" }, "One moment."));
  const document = await ask(version.document);
  const byTag = new Map((document.tags || []).map((tag) => [tag.name, { about: tag.description, list: [] }]));
  for (const operation of operations(document)) {
    const tag = operation.operation.tags?.[0] ?? "";
    if (!byTag.has(tag)) byTag.set(tag, { list: [] });
    byTag.get(tag).list.push(operation);
  }
  const groups = [...byTag].filter(([, group]) => group.list.length).map(([tag, group]) => [
    make("h2", null, tag || "Operations"), paragraphs(group.about),
    group.list.map((operation) => operationView(document, version, operation))]);
  show(head, paragraphs(document.info?.description), groups);
}

async function keysView(made) {
  const keys = await ask("keys");
  const act = async (what) => {
    try { await keysView(await what()); } catch (error) { show(make("p", { class: "notice bad" }, `That was not done: ${error.message}.`), make("p", null, make("a", { href: "#/keys", onclick: draw }, "Back to the keys"))); }
  };
  const row = (key) => {
    const valid = key.standing === "valid";
    const path = `keys/${encodeURIComponent(key.id)}`;
    return make("tr", null,
      make("td", null, make("code", null, key.id)), make("td", null, key.note || ""),
      make("td", null, make("span", { class: `badge ${valid ? "" : key.standing === "leaving" ? "deprecated" : "retired"}` }, key.standing)),
      make("td", null, day((key.created || "").slice(0, 10))), make("td", null, (key.expires || "").slice(0, 10)),
      make("td", null, make("div", { class: "row" },
        valid ? make("button", { class: "plain", onclick: () => act(() => change("POST", `${path}/rotate`, { grace: "24h" })) }, "Rotate") : null,
        valid || key.standing === "leaving" ? make("button", { class: "plain", onclick: () => confirm(`Revoke ${key.id}? Whoever uses it is refused at once.`) && act(() => change("DELETE", path)) }, "Revoke") : null)));
  };
  const note = make("input", { placeholder: "What it is for", maxlength: 100, "aria-label": "What it is for" });
  show(make("h1", null, "Your keys"),
    make("p", { class: "quiet" }, `Keys of ${catalog.consumer}. A key is shown once, when it is made; a rotated one stays valid for a day beside its successor.`),
    made && made.key ? make("p", { class: "notice" }, "Your new key, shown only now: ", make("code", null, made.key)) : null,
    make("form", { class: "row", onsubmit: (event) => { event.preventDefault(); act(() => change("POST", "keys", { note: note.value || null })); } },
      note, make("button", { type: "submit" }, "Make a key")),
    make("table", null,
      make("thead", null, make("tr", null, ["Key", "For", "Standing", "Made", "Until", ""].map((text) => make("th", null, text)))),
      make("tbody", null, keys.map(row))));
}

async function draw() {
  const [name, version, operation] = location.hash.replace(/^#\//, "").split("/").map(decodeURIComponent);
  const entries = catalog.apis.map((api) => [make("strong", null, api.title), make("ul", null, api.versions.map((one) =>
    make("li", null, make("a", { href: link(api, one), "aria-current": api.name === name && one.name === version ? "page" : null }, one.name, badge(one)))))]);
  document.getElementById("nav").replaceChildren(...entries.flat(9),
    ...(catalog.keys ? [make("ul", null, make("li", null, make("a", { href: "#/keys", "aria-current": name === "keys" && !version ? "page" : null }, "Your keys")))] : []));
  try {
    const api = catalog.apis.find((one) => one.name === name);
    const chosen = api?.versions.find((one) => one.name === version);
    if (chosen) await apiView(api, chosen);
    else if (name === "keys" && catalog.keys) await keysView();
    else overview();
    const wanted = operation && document.getElementById(operation);
    if (wanted) {
      wanted.open = true;
      wanted.scrollIntoView();
    }
  } catch (error) {
    show(make("p", { class: "notice bad" }, `This could not be shown: ${error.message}.`));
  }
}

(async () => {
  try {
    catalog = await ask("apis.json");
  } catch (error) {
    show(make("p", { class: "notice bad" }, `The list of APIs could not be had: ${error.message}.`));
    return;
  }
  document.title = catalog.title;
  document.getElementById("title").textContent = catalog.title;
  document.getElementById("who").textContent = catalog.consumer ? `You are ${catalog.consumer}` : "";
  addEventListener("hashchange", draw);
  await draw();
})();
