//! The services of the shop: real HTTP servers on ports of this machine that nobody else knows.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::instance::Instance;
use super::inventory::inventory;
use super::login::login;

/// Instances of the order service.
pub(super) const INSTANCES: usize = 4;

/// The services, listening and not yet answering.
pub(super) struct Shop {
    users: TcpListener,
    cart: TcpListener,
    inventory: TcpListener,
    login: Router,
    store: Store,
    /// These answer already.
    pub(super) orders: Vec<Instance>,
}

/// Where they listen.
pub(super) struct Places {
    pub(super) users: SocketAddr,
    pub(super) cart: SocketAddr,
    pub(super) inventory: SocketAddr,
    pub(super) orders: Vec<SocketAddr>,
}

impl Shop {
    /// Takes ports that are free.
    pub(super) async fn open() -> io::Result<(Self, Places)> {
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let store = Store::default();
        let instance = |number| Instance::start(orders(number, store.clone()));
        let shop = Shop {
            users: free().await?,
            cart: free().await?,
            inventory: free().await?,
            login: login()?,
            orders: (1..=INSTANCES).map(instance).collect::<io::Result<_>>()?,
            store,
        };
        let places = Places {
            users: shop.users.local_addr()?,
            cart: shop.cart.local_addr()?,
            inventory: shop.inventory.local_addr()?,
            orders: shop.orders.iter().map(|instance| instance.address).collect(),
        };
        Ok((shop, places))
    }

    /// Answers without end.
    pub(super) async fn serve(self) {
        tokio::join!(
            serve(self.users, users().merge(self.login)),
            serve(self.cart, cart(self.store)),
            serve(self.inventory, inventory()),
        );
    }
}

async fn serve(listener: TcpListener, service: Router) {
    // Never ends: the listener retries what fails.
    let _ = axum::serve(listener, service).await;
}

/// What the services would keep in a database.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    /// Products.
    cart: Vec<String>,
    orders: Vec<Value>,
}

impl Store {
    fn open(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn users() -> Router {
    const USERS: [&str; 3] = ["Ada", "Grace", "Edsger"];
    let user = |id: usize| json!({ "id": id, "name": USERS[id - 1] });
    let all = move || async move { Json((1..=USERS.len()).map(user).collect::<Vec<_>>()) };
    let one = move |Path(id): Path<usize>| async move {
        match (1..=USERS.len()).contains(&id) {
            true => Ok(Json(user(id))),
            false => Err((StatusCode::NOT_FOUND, Json(json!({ "error": "no such user" })))),
        }
    };
    Router::new().route("/users", get(all)).route("/users/{id}", get(one))
}

/// What may lie in the cart; the oldest goes first.
const CART: usize = 100;

fn cart(store: Store) -> Router {
    async fn show(
        State(store): State<Store>,
        headers: HeaderMap,
    ) -> ([(&'static str, &'static str); 1], Json<Value>) {
        let shopper = headers.get("x-shopper").and_then(|value| value.to_str().ok());
        let items = store.open().cart.clone();
        // the field is removed on the way out
        ([("x-internal", "cart-7")], Json(json!({ "shopper": shopper, "items": items })))
    }
    async fn add(
        State(store): State<Store>,
        body: String,
    ) -> Result<(StatusCode, Json<Value>), (StatusCode, Json<Value>)> {
        let wanted = serde_json::from_str::<Value>(&body).ok();
        let Some(product) = wanted.as_ref().and_then(|wanted| wanted["product"].as_str()) else {
            let hint = json!({ "error": "send {\"product\": \"lamp\"}" });
            return Err((StatusCode::UNPROCESSABLE_ENTITY, Json(hint)));
        };
        let cart = &mut store.open().cart;
        if cart.len() == CART {
            cart.remove(0);
        }
        cart.push(product.chars().take(40).collect());
        Ok((StatusCode::CREATED, Json(json!({ "items": cart }))))
    }
    async fn empty(State(store): State<Store>) -> Json<Value> {
        store.open().cart.clear();
        Json(json!({ "items": [] }))
    }
    Router::new().route("/cart", get(show).post(add).delete(empty)).with_state(store)
}

/// Orders that are remembered.
const ORDERS: usize = 20;

/// One instance of the order service; all of them share the store.
fn orders(instance: usize, store: Store) -> Router {
    let list = move |State(store): State<Store>| async move {
        Json(json!({ "instance": instance, "orders": store.open().orders }))
    };
    let buy = move |State(store): State<Store>, headers: HeaderMap| async move {
        // who it is says the gateway: no client can send these fields
        let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let (user, plan) = (said("x-user").map(str::to_owned), said("x-plan").map(str::to_owned));
        let mut stored = store.open();
        let bought = std::mem::take(&mut stored.cart);
        if bought.is_empty() {
            let answer = json!({ "instance": instance, "error": "the cart is empty" });
            return (StatusCode::CONFLICT, Json(answer));
        }
        if stored.orders.len() == ORDERS {
            stored.orders.remove(0);
        }
        let number =
            stored.orders.last().map_or(1001, |last| last["number"].as_u64().unwrap_or(0) + 1);
        let order = json!({
            "number": number, "items": bought, "taken-by": instance, "user": user, "plan": plan,
        });
        stored.orders.push(order.clone());
        (StatusCode::CREATED, Json(json!({ "instance": instance, "order": order, "items": [] })))
    };
    Router::new().route("/orders", get(list)).route("/checkout", post(buy)).with_state(store)
}
