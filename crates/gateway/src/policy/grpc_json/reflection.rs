//! Asks a server what its services look like (grpc.reflection.v1, or v1alpha where it is older).

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::{Bytes, BytesMut};
use prost::Message;
use prost_reflect::DescriptorPool;
use prost_reflect::prost_types::FileDescriptorProto;
use transom_proxy::body::Body;
use transom_proxy::fields::Known;
use transom_proxy::local::Local;
use transom_proxy::message::{Method, Request};

use super::rules::Table;
use crate::call::Caller;
use crate::grpc::frame::{self, Frames};
use crate::grpc::status::Status;
use crate::task::Task;

/// What is known of the services now; outlives reloads.
#[derive(Default)]
pub(super) struct Learned {
    pub(super) table: ArcSwapOption<Table>,
    /// The files that it was made of.
    files: Mutex<BTreeMap<String, Bytes>>,
    /// Why it is not known, or not anew.
    why: Mutex<Option<String>>,
    /// What it was learned from.
    pub(super) from: String,
}

impl Learned {
    pub(super) fn from(from: String) -> Self {
        Learned { from, ..Learned::default() }
    }

    pub(super) fn why(&self) -> String {
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        why.clone().unwrap_or_else(|| "the server has not been asked yet".to_owned())
    }

    fn note(&self, why: Option<String>) {
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}

/// Asks again and again.
pub(super) struct Asking {
    pub(super) caller: Caller,
    pub(super) learned: Arc<Learned>,
    /// Of these services; of all if there are none.
    pub(super) services: Vec<String>,
    pub(super) every: Duration,
}

/// How long is waited after a failure, at first and at most.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));
/// The most files of one server.
const MOST_FILES: usize = 1000;
/// Rounds of asking for files that others import.
const ROUNDS: usize = 16;
/// The versions of the service, the newest first.
const VERSIONS: [&str; 2] = ["v1", "v1alpha"];

impl Task for Asking {
    fn run(self: Arc<Self>, local: Rc<Local>) -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            let mut wait = PATIENCE.0;
            loop {
                match self.learn(&local).await {
                    Ok(()) => {
                        self.learned.note(None);
                        wait = PATIENCE.0;
                        tokio::time::sleep(self.every).await;
                    }
                    Err(why) => {
                        self.learned.note(Some(why));
                        tokio::time::sleep(wait.min(self.every)).await;
                        wait = (wait * 2).min(PATIENCE.1);
                    }
                }
            }
        })
    }
}

impl Asking {
    async fn learn(&self, local: &Rc<Local>) -> Result<(), String> {
        let files = self.files(local).await?;
        {
            let known = self.learned.files.lock().unwrap_or_else(PoisonError::into_inner);
            if *known == files && self.learned.table.load().is_some() {
                return Ok(());
            }
        }
        let mut set = BytesMut::new();
        for file in files.values() {
            // FileDescriptorSet: repeated FileDescriptorProto file = 1
            prost::encoding::bytes::encode(1, file, &mut set);
        }
        let pool = DescriptorPool::decode(set.freeze()).map_err(|error| error.to_string())?;
        let (table, wrong) = Table::of(pool, &self.services);
        if table.size().0 == 0 {
            return Err(format!("the server has none of the services; {}", wrong.join("; ")));
        }
        self.learned.table.store(Some(Arc::new(table)));
        // not before: files that are wrong are told of each time
        *self.learned.files.lock().unwrap_or_else(PoisonError::into_inner) = files;
        Ok(())
    }

    /// Every file that is needed to know the services, by name.
    async fn files(&self, local: &Rc<Local>) -> Result<BTreeMap<String, Bytes>, String> {
        let mut failures = Vec::new();
        for version in VERSIONS {
            match self.files_by(version, local).await {
                Ok(files) => return Ok(files),
                Err(why) => failures.push(format!("{version}: {why}")),
            }
        }
        Err(failures.join("; "))
    }

    async fn files_by(
        &self,
        version: &str,
        local: &Rc<Local>,
    ) -> Result<BTreeMap<String, Bytes>, String> {
        let services = match self.services.is_empty() {
            false => self.services.clone(),
            true => {
                let list = Question { list_services: Some("*".to_owned()), ..Question::default() };
                let answers = self.ask(version, &[list], local).await?;
                let listed = answers.into_iter().filter_map(|answer| answer.services);
                let names = listed.flat_map(|list| list.service).map(|service| service.name);
                names.filter(|name| !name.starts_with("grpc.reflection.")).collect()
            }
        };
        let mut questions: Vec<Question> = services
            .into_iter()
            .map(|name| Question { file_containing_symbol: Some(name), ..Question::default() })
            .collect();
        let mut files = BTreeMap::new();
        let mut asked = BTreeSet::new();
        for _ in 0..ROUNDS {
            if questions.is_empty() {
                return Ok(files);
            }
            let mut imports = BTreeSet::new();
            for answer in self.ask(version, &questions, local).await? {
                if let Some(error) = answer.error {
                    return Err(format!("the server says: {} ({})", error.message, error.code));
                }
                for bytes in answer.files.map(|files| files.file).unwrap_or_default() {
                    let bytes = Bytes::from(bytes);
                    let file = FileDescriptorProto::decode(bytes.clone())
                        .map_err(|error| format!("a descriptor cannot be read: {error}"))?;
                    imports.extend(file.dependency.iter().cloned());
                    files.insert(file.name().to_owned(), bytes);
                }
            }
            if files.len() > MOST_FILES {
                return Err(format!("the server has more than {MOST_FILES} files"));
            }
            imports.retain(|name| !files.contains_key(name) && asked.insert(name.clone()));
            let by_name = |name| Question { file_by_filename: Some(name), ..Question::default() };
            questions = imports.into_iter().map(by_name).collect();
        }
        Err("its files import each other without end".to_owned())
    }

    async fn ask(
        &self,
        version: &str,
        questions: &[Question],
        local: &Rc<Local>,
    ) -> Result<Vec<Answer>, String> {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let mut body = BytesMut::new();
        for question in questions {
            frame::write(&question.encode_to_vec(), &mut body);
        }
        let mut request = Request::new(Method::Post, "", &path);
        request.fields.append(Known::ContentType, b"application/grpc");
        request.takes_trailers = true;
        request.body = Body::of(body.freeze());
        let called = self.caller.call_alone(local, request).await;
        let called = called.map_err(|fault| fault.to_string())?;
        if let Some(status) = Status::of(&called.fields).filter(|status| !status.is_ok()) {
            return Err(format!("{}: {}", status.code().name(), status.message));
        }
        if called.status != 200 {
            return Err(format!("the server answers {}", called.status));
        }
        let mut frames = Frames::new(called.body.len());
        frames.push(&called.body);
        let mut answers = Vec::new();
        while let Some(message) = frames.message().map_err(|error| error.to_string())? {
            let answer = Answer::decode(message);
            answers.push(answer.map_err(|error| format!("an answer cannot be read: {error}"))?);
        }
        match answers.len() == questions.len() {
            true => Ok(answers),
            false => Err("the server does not answer every question".to_owned()),
        }
    }
}

/// ServerReflectionRequest; one of these is there.
#[derive(Clone, PartialEq, Message)]
struct Question {
    #[prost(string, optional, tag = "3")]
    file_by_filename: Option<String>,
    #[prost(string, optional, tag = "4")]
    file_containing_symbol: Option<String>,
    #[prost(string, optional, tag = "7")]
    list_services: Option<String>,
}

/// ServerReflectionResponse; one of these is there.
#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(message, optional, tag = "4")]
    files: Option<Files>,
    #[prost(message, optional, tag = "6")]
    services: Option<Services>,
    #[prost(message, optional, tag = "7")]
    error: Option<Refused>,
}

#[derive(Clone, PartialEq, Message)]
struct Files {
    #[prost(bytes = "vec", repeated, tag = "1")]
    file: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Services {
    #[prost(message, repeated, tag = "1")]
    service: Vec<Service>,
}

#[derive(Clone, PartialEq, Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Refused {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}
