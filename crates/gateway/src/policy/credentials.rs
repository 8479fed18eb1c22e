//! # credentials
//!
//! **What it does.** Proves to the endpoint who is asking: with a secret of ours (`bearer`, `basic`,
//! `header`), with a token that an authorization server gives us (`client-credentials`, fetched before
//! the last one ends), with one that it gives us in exchange for the client's (`exchange`, RFC 8693),
//! or with a signature for AWS (`aws`, Signature Version 4). To relay the client's own token, leave
//! this policy out: what a policy of the stage `identify` does not hide goes on.
//!
//! **When it runs.** Stage `shape`: what the client may do is settled. `aws` in stage `store`, so that nothing
//! changes any more what is signed.
//!
//! **Example.**
//!
//! ```yaml
//! policies:
//!   as-us:
//!     credentials:
//!       client-credentials:
//!         url: https://id.example/token
//!         client: { id: gateway, secret: "${SECRET}" }
//!         scope: orders
//! ```
//!
//! **What the client sees.** 503 while there is no token (`authority-unavailable`); 401 where a token
//! is to be exchanged and the client has none, or the server refuses it; 413 where a body is too long
//! to be signed (`too-large`).
//!
//! **What to know at night.**
//!
//! - The client's own `Authorization` never reaches the endpoint: it is replaced, or taken off.
//! - `aws` signs what is sent: it runs in stage `store`, behind the rewriting of the route. The body is signed whole,
//!   up to `body`; with `unsigned`, which S3 takes, it is not read. `host` is what the request is sent with.
//! - AWS refuses signatures of a clock that is wrong by five minutes.

use std::sync::Arc;
use std::time::SystemTime;

use transom_proxy::body::Body;
use transom_proxy::chain::Next;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::Known;
use transom_proxy::message::Request;
use transom_proxy::policy::{Answering, Policy};
use transom_proxy::stage::Stage;
use transom_settings::{ByteSize, Duration, HeaderName, Secret, Spanned, Target, Url, settings};

use crate::call::Caller;
use crate::kind::Kind;
use crate::making::Making;
use crate::oauth::{Client, LONGEST, Server};
use crate::token::seconds;

mod exchange;
mod own;
mod sigv4;

use exchange::Exchanging;
use own::{Fetching, Own};

settings! {
    /// Proves to the endpoint who is asking.
    pub struct Credentials flatten(with: With) {}

    /// With what.
    pub choice With {
        /// A token that we have.
        "bearer" => Bearer(Secret),
        /// A name and a password.
        "basic" => Basic(Basic),
        /// A secret in a field.
        "header" => Header(InHeader),
        /// A token that an authorization server gives us (RFC 6749 §4.4).
        "client-credentials" => Own(OwnToken),
        /// A token in exchange for the client's (RFC 8693).
        "exchange" => Exchange(TokenExchange),
        /// A signature for AWS.
        "aws" => Aws(Aws),
    }

    /// A name and a password.
    pub struct Basic {
        /// The name.
        pub user: String,
        /// The password.
        pub password: Secret,
    }

    /// A secret in a field.
    pub struct InHeader {
        /// The field.
        pub name: HeaderName,
        /// The secret.
        pub value: Secret,
    }

    /// A token that an authorization server gives us.
    pub struct OwnToken {
        /// Where: a URL, or a pool and a path.
        pub url: Url,
        /// Who we are there.
        pub client: Client,
        /// What it is to allow, with spaces between.
        pub scope: Option<String> = None,
        /// For whom it is to be.
        pub audience: Option<String> = None,
        /// How long a fetch may take, and how long a request waits for the first.
        pub timeout: Duration = Duration::seconds(5),
    }

    /// A token in exchange for the client's.
    pub struct TokenExchange {
        /// Where: a URL, or a pool and a path.
        pub url: Url,
        /// Who we are there.
        pub client: Client,
        /// What it is to allow, with spaces between.
        pub scope: Option<String> = None,
        /// For whom it is to be.
        pub audience: Option<String> = None,
        /// How long it may take.
        pub timeout: Duration = Duration::seconds(5),
        /// How many are remembered, each until a tenth of its time is left (a minute, where the server does not
        /// say it), and never longer than the client's own token is good: as a policy has found out, or it
        /// says itself as a JWT.
        pub remember: u32 = 10_000,
    }

    /// A signature for AWS.
    pub struct Aws {
        /// The id of the key.
        pub access_key: String,
        /// The key.
        pub secret_key: Secret,
        /// Of temporary keys.
        pub session_token: Option<Secret> = None,
        /// Such as `eu-west-1`.
        pub region: String,
        /// Such as `s3` or `execute-api`.
        pub service: String,
        /// The host that the request is sent with.
        pub host: String,
        /// The longest body that is read and signed.
        pub body: ByteSize = ByteSize::mib(10),
        /// Whether the body is not signed, as S3 allows.
        pub unsigned: bool = false,
    }
}

impl Kind for Credentials {
    const NAME: &'static str = "credentials";
    const SUMMARY: &'static str = "Proves to the endpoint who is asking.";
    const STAGE: Stage = Stage::Shape;

    fn targets(&self) -> Vec<(&'static str, &Spanned<Target>)> {
        match &self.with {
            With::Own(own) => vec![("client-credentials.url", &own.url.target)],
            With::Exchange(exchange) => vec![("exchange.url", &exchange.url.target)],
            _ => Vec::new(),
        }
    }

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        let fixed = |name: HeaderName, value: String| Proof::Fixed(name, value);
        let authorization = HeaderName::known("authorization");
        let proof = match &self.with {
            With::Bearer(token) => fixed(authorization, format!("Bearer {}", token.expose())),
            With::Basic(basic) => {
                let pair = format!("{}:{}", basic.user, basic.password.expose());
                let encoded = data_encoding::BASE64.encode(pair.as_bytes());
                fixed(authorization, format!("Basic {encoded}"))
            }
            With::Header(header) => fixed(header.name.clone(), header.value.expose().to_owned()),
            With::Own(own) => {
                let destination = making.destination(&own.url.target, "client-credentials.url")?;
                let token = making.keep(|kept: &Own| kept.is_for(own), || Own::new(own));
                let timeout = own.timeout.get();
                let server = Server {
                    url: own.url.clone(),
                    client: own.client.clone(),
                    caller: Arc::new(Caller::new(destination, timeout, LONGEST)),
                };
                let name = format!("policy {}", making.name);
                let fetching = Fetching { name, server, own: token.clone(), log: making.log() };
                making.task("client-credentials", Arc::new(fetching));
                Proof::Own(token)
            }
            With::Exchange(exchange) => {
                let destination = making.destination(&exchange.url.target, "exchange.url")?;
                let server = Server {
                    url: exchange.url.clone(),
                    client: exchange.client.clone(),
                    caller: Arc::new(Caller::new(destination, exchange.timeout.get(), LONGEST)),
                };
                Proof::Exchange(Exchanging::new(exchange, server, making))
            }
            With::Aws(aws) => Proof::Aws(aws.clone()),
        };
        if let Proof::Fixed(_, value) = &proof
            && value.bytes().any(|byte| byte.is_ascii_control())
        {
            let hint = "take out line ends; `${file:...}` keeps those of the file";
            making.error(making.place, "", "the secret cannot stand in a header field", hint);
            return None;
        }
        Some(Arc::new(Prover(proof)))
    }
}

enum Proof {
    Fixed(HeaderName, String),
    Own(Arc<Own>),
    Exchange(Exchanging),
    Aws(Aws),
}

struct Prover(Proof);

impl Policy for Prover {
    fn kind(&self) -> &'static str {
        Credentials::NAME
    }

    fn stage(&self) -> Stage {
        match &self.0 {
            Proof::Aws(_) => Stage::Store,
            _ => Credentials::STAGE,
        }
    }

    fn describe(&self) -> String {
        match &self.0 {
            Proof::Fixed(name, _) => format!("puts a secret into {name}"),
            Proof::Own(own) => format!("puts in a token from {}", own.url()),
            Proof::Exchange(exchanging) => {
                format!("exchanges the token at {}", exchanging.server.url)
            }
            Proof::Aws(aws) => format!("signs for {} in {}", aws.service, aws.region),
        }
    }

    fn handle<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        mut request: Box<Request>,
        next: Next,
    ) -> Answering<'a> {
        Box::pin(async move {
            match &self.0 {
                Proof::Fixed(name, value) => {
                    request.fields.remove(Known::Authorization);
                    request.fields.set(&**name, value.as_bytes());
                }
                Proof::Own(own) => {
                    let token = own.token(&exchange.local.worker).await?;
                    request.fields.set(Known::Authorization, token.as_bytes());
                }
                Proof::Exchange(exchanging) => {
                    let token = exchanging.token(exchange, &request).await?;
                    request.fields.set(Known::Authorization, token.as_bytes());
                }
                Proof::Aws(aws) => aws.sign(&mut request, SystemTime::now()).await?,
            }
            Ok(next.run(exchange, request).await)
        })
    }
}

impl Aws {
    async fn sign(&self, request: &mut Request, now: SystemTime) -> Result<(), Fault> {
        request.fields.remove(Known::Authorization);
        // it belongs to the key of somebody else
        request.fields.remove("x-amz-security-token");
        request.authority = self.host.as_str().into();
        let payload = match self.unsigned {
            true => "UNSIGNED-PAYLOAD".to_owned(),
            false => {
                let Some(body) = request.body.whole(self.body.len()).await? else {
                    let why = "the body is longer than is signed";
                    return Err(Fault::new(Code::TooLarge, why).closing());
                };
                let hash = sigv4::hash(&body);
                request.body = Body::of(body);
                hash
            }
        };
        let time = sigv4::time(seconds(now));
        let mut headers = vec![
            ("host", self.host.as_str()),
            ("x-amz-content-sha256", payload.as_str()),
            ("x-amz-date", time.as_str()),
        ];
        if let Some(token) = &self.session_token {
            headers.push(("x-amz-security-token", token.expose()));
        }
        let signer = sigv4::Signer {
            access_key: &self.access_key,
            secret_key: self.secret_key.expose(),
            region: &self.region,
            service: &self.service,
        };
        let authorization = signer.authorization(&sigv4::Signed {
            method: request.method.as_str(),
            path: &request.path,
            query: request.query.as_deref().unwrap_or_default(),
            headers: &headers,
            payload: &payload,
            time: &time,
        });
        for (name, value) in &headers[1..] {
            request.fields.set(*name, value.as_bytes());
        }
        request.fields.set(Known::Authorization, authorization.as_bytes());
        Ok(())
    }
}
