//! Buckets of S3, and of what speaks its language: how they are reached, and what is wrong when they are not.
//!
//! Configured by variables that begin with `AWS_`, and by no others: `TOKEN` or `REGION` alone may mean anything.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{ClientConfigKey, Error as StorageError, ObjectStore, ObjectStoreScheme, RetryConfig};
use url::Url;

use super::super::CheckpointError;

/// How long one request may take, of which a state file is one; `AWS_TIMEOUT` says otherwise.
const REQUEST_TIMEOUT: &str = "120s";
/// How long it is tried to look into the bucket before anything else: who starts a job wants to know soon.
const LOOK_LIMIT: Duration = Duration::from_secs(10);
const LOOK_RETRIES: usize = 3;
/// Bytes of an answer that are shown.
const SHOWN_BYTES: usize = 300;

/// The bucket of a URL and the path in it, after a look whether it can be listed.
pub(super) async fn open(
    url: &Url,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<(Arc<dyn ObjectStore>, Path), CheckpointError> {
    let location = |detail: &dyn ToString| CheckpointError::Location {
        url: url.to_string(),
        detail: detail.to_string(),
    };
    let (_, root) = ObjectStoreScheme::parse(url).map_err(|error| location(&error))?;
    let options: Vec<(String, String)> = environment
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| name.starts_with("aws_"))
        .collect();
    let look = RetryConfig { max_retries: LOOK_RETRIES, retry_timeout: LOOK_LIMIT, ..RetryConfig::default() };
    let first = client(url, &options, look).map_err(|error| unreachable(url, &error))?;
    if let Some(Err(error)) = first.list(Some(&root)).next().await {
        return Err(unreachable(url, &error));
    }
    let patient = client(url, &options, RetryConfig::default()).map_err(|error| unreachable(url, &error))?;
    Ok((Arc::new(patient), root))
}

fn client(url: &Url, options: &[(String, String)], retry: RetryConfig) -> Result<AmazonS3, StorageError> {
    let builder = AmazonS3Builder::new()
        .with_url(url.as_str())
        .with_retry(retry)
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), REQUEST_TIMEOUT);
    let known = options.iter().filter_map(|(name, value)| Some((name.parse().ok()?, value)));
    known.fold(builder, |builder, (key, value)| builder.with_config(key, value)).build()
}

/// What is wrong, and what to do about it.
fn unreachable(url: &Url, error: &StorageError) -> CheckpointError {
    let text = whole_text(error);
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    let code = code_in(&text).map_or_else(String::new, |code| format!(" ({code})"));
    let bucket = url.host_str().unwrap_or_default();
    let (detail, hint) = if says(&["NoSuchBucket"]) {
        (
            format!("there is no bucket {bucket}"),
            "make it first, or name another; where it is no bucket of Amazon's, AWS_ENDPOINT says whose",
        )
    } else if says(&["/latest/", "169.254.", "Missing AccessKeyId", "Missing SecretAccessKey"]) {
        ("there are no credentials".to_owned(), "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    } else if says(&["URL scheme is not allowed"]) {
        ("AWS_ENDPOINT is without TLS".to_owned(), "set AWS_ALLOW_HTTP=true if that is meant")
    } else if says(&["incorrectly configured region", "PermanentRedirect", "AuthorizationHeaderMalformed"]) {
        ("the bucket is in another region".to_owned(), "set AWS_REGION to the bucket's")
    } else if says(&["403 Forbidden", "401 Unauthorized"]) {
        (
            format!("access is refused{code}"),
            "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that they may list, read, write and delete there",
        )
    } else {
        (shortened(&text), "check AWS_ENDPOINT and AWS_REGION, and that the server is well")
    };
    CheckpointError::Unreachable { url: url.to_string(), detail, hint }
}

// Of an error and its causes: what matters is said by the innermost.
fn whole_text(error: &StorageError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text
}

fn code_in(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Code>")?;
    rest.split_once("</Code>").map(|(code, _)| code)
}

fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN_BYTES) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;

    use crate::checkpoint::Store;

    /// A request as far as it matters: method, path with query, body.
    type Request<'a> = (&'a str, &'a str, &'a [u8]);

    /// A server for the rest of the process's life; its address. It gives an answer a connection.
    fn server(answer: impl Fn(Request<'_>) -> (u16, String) + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut reader = BufReader::new(stream.unwrap());
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
                let mut bytes = 0;
                loop {
                    line.clear();
                    reader.read_line(&mut line).unwrap();
                    if let Some((name, value)) = line.split_once(':')
                        && name.eq_ignore_ascii_case("content-length")
                    {
                        bytes = value.trim().parse().unwrap();
                    }
                    if line.trim().is_empty() {
                        break;
                    }
                }
                let mut body = vec![0; bytes];
                reader.read_exact(&mut body).unwrap();
                let (status, text) = answer((&words[0], &words[1], &body));
                let head = format!(
                    "HTTP/1.1 {status} _\r\ncontent-length: {}\r\netag: \"x\"\r\n\
                     last-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nconnection: close\r\n\r\n",
                    text.len()
                );
                // Who has heard enough may have gone.
                let _ = reader.get_mut().write_all(format!("{head}{text}").as_bytes());
            }
        });
        format!("http://{address}")
    }

    const EMPTY: &str = "<ListBucketResult><Name>b</Name><KeyCount>0</KeyCount></ListBucketResult>";

    fn opened(environment: &[(&str, &str)]) -> Result<Store, CheckpointError> {
        let url = Url::parse("s3://bucket/some/path").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let (objects, root) = runtime.block_on(open(&url, environment))?;
        Ok(Store { objects, root, location: url.to_string(), folder: None, runtime: Arc::new(runtime) })
    }

    fn environment(endpoint: &str) -> [(&str, &str); 5] {
        [
            ("AWS_ENDPOINT", endpoint),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ACCESS_KEY_ID", "somebody"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("TOKEN", "somebody else's"),
        ]
    }

    fn store(answer: impl Fn(Request<'_>) -> (u16, String) + Send + 'static) -> Store {
        let endpoint = server(move |request| match request {
            ("GET", path, _) if path.contains("list-type=2") => (200, EMPTY.to_owned()),
            request => answer(request),
        });
        opened(&environment(&endpoint)).unwrap()
    }

    #[test]
    fn who_finds_its_own_object_has_written_it() {
        // The answer to the first request is lost: the client sends another one.
        let there = std::cell::RefCell::new(None);
        let store = store(move |(method, path, body)| {
            assert_eq!(path, "/bucket/some/path/log/1.json");
            let found = there.borrow().clone();
            match (method, found) {
                ("PUT", None) => {
                    *there.borrow_mut() = Some(String::from_utf8(body.to_vec()).unwrap());
                    (500, "lost".to_owned())
                }
                ("PUT", Some(_)) => (412, "<Error><Code>PreconditionFailed</Code></Error>".to_owned()),
                (_, Some(found)) => (200, found),
                (_, None) => (404, String::new()),
            }
        });
        assert!(store.create("log/1.json", b"first".to_vec()).unwrap());
        assert!(!store.create("log/1.json", b"second".to_vec()).unwrap());
        assert_eq!(store.get("log/1.json").unwrap().as_ref(), b"first");
    }

    #[test]
    fn a_refusal_without_an_object_is_no_answer() {
        let refusals = std::cell::Cell::new(0);
        let store = store(move |(method, ..)| {
            if method == "GET" {
                return (404, "<Error><Code>NoSuchKey</Code></Error>".to_owned());
            }
            refusals.set(refusals.get() + 1);
            match refusals.get() {
                1 | 2 | 4.. => (409, "<Error><Code>ConditionalRequestConflict</Code></Error>".to_owned()),
                _ => (200, String::new()),
            }
        });
        assert!(store.create("log/1.json", b"first".to_vec()).unwrap());
        let error = store.create("log/1.json", b"first".to_vec()).unwrap_err().to_string();
        assert!(error.contains("log/1.json") && error.contains("ConditionalRequestConflict"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_told_with_what_to_do() {
        let refusing = |status: u16, code: &str| {
            let text = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
            server(move |_| (status, text.clone()))
        };
        let error = |environment: &[(&str, &str)]| opened(environment).unwrap_err().to_string();
        let told = |endpoint: &str| error(&environment(endpoint));

        let text = told(&refusing(404, "NoSuchBucket"));
        assert!(text.contains("s3://bucket/some/path: there is no bucket bucket; make it first"), "{text}");
        let text = told(&refusing(403, "InvalidAccessKeyId"));
        assert!(text.contains("access is refused (InvalidAccessKeyId); check AWS_ACCESS_KEY_ID"), "{text}");
        let text = told(&refusing(301, "PermanentRedirect"));
        assert!(text.contains("another region; set AWS_REGION"), "{text}");
        let text = told(&refusing(418, "Teapot"));
        assert!(text.contains("Teapot") && text.contains("; check AWS_ENDPOINT"), "{text}");

        let metadata = refusing(404, "nothing here");
        let text = error(&[
            ("AWS_METADATA_ENDPOINT", &metadata),
            ("ACCESS_KEY_ID", "a"),
            ("SECRET_ACCESS_KEY", "b"),
        ]);
        assert!(text.contains("there are no credentials; set AWS_ACCESS_KEY_ID"), "{text}");
        let text = error(&[("AWS_ACCESS_KEY_ID", "a")]);
        assert!(text.contains("there are no credentials; set AWS_ACCESS_KEY_ID"), "{text}");
        let text = error(&environment("http://127.0.0.1:1").map(|(name, value)| match name {
            "AWS_ALLOW_HTTP" => ("AWS_ALLOW_HTTP", "false"),
            _ => (name, value),
        }));
        assert!(text.contains("without TLS; set AWS_ALLOW_HTTP=true"), "{text}");
        let text = told("http://127.0.0.1:1");
        assert!(text.contains("127.0.0.1:1") && text.contains("; check AWS_ENDPOINT"), "{text}");
    }
}
