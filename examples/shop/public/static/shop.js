// Every button asks the gateway, and shows what it answered.
const show = document.querySelector("#answer");

// Who buys logs in before, as Ada, and gets a token.
let token = "";

async function logIn() {
  const response = await fetch("/api/login", { method: "POST", body: '{"name":"ada"}' });
  token = response.ok ? await response.text() : "";
}

async function ask(method, path, body) {
  const began = performance.now();
  const response = await fetch(path, {
    method, body: body && JSON.stringify(body),
    headers: { accept: "application/json", ...(token && { authorization: `Bearer ${token}` }) },
  });
  const took = (performance.now() - began).toFixed(1);
  const text = await response.text();
  let answer = null;
  try { answer = JSON.parse(text); } catch { /* a page or a sentence */ }
  const id = response.headers.get("x-request-id");
  show.textContent = `${method} ${path}\n${response.status} in ${took} ms${id ? `, request ${id}` : ""}\n\n`
    + (answer ? JSON.stringify(answer, null, 2) : text);
  if (answer?.instance) light(answer.instance);
  if (answer?.items) document.querySelector("#count").textContent = answer.items.length;
  return answer;
}

function light(instance) {
  const lamp = document.querySelector(`[data-instance="${instance}"]`);
  lamp.classList.add("lit");
  setTimeout(() => lamp.classList.remove("lit"), 250);
}

for (const button of document.querySelectorAll("[data-product]")) {
  button.onclick = () => ask("POST", "/api/cart", { product: button.dataset.product });
}
const on = (id, does) => { document.querySelector(id).onclick = does; };
on("#buy", async () => { await logIn(); await ask("POST", "/api/checkout"); });
on("#orders", () => ask("GET", "/api/orders"));
on("#stock", () => ask("GET", "/api/inventory"));
on("#users", () => ask("GET", "/api/users"));
on("#empty", () => ask("DELETE", "/api/cart"));
on("#wrong", () => ask("GET", "/api/unicorns"));

fetch("/api/cart").then((response) => response.json()).then((cart) => {
  document.querySelector("#count").textContent = cart.items.length;
});
