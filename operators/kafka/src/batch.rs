//! Taking messages from a partition's queue many at a time: the only `unsafe` code of this crate.
//!
//! librdkafka's `poll` makes an event object for every message; `rd_kafka_consume_batch_queue` on the partition's own
//! queue doesn't, and costs a third less.
//!
//! ```text
//!   fetcher thread ──▶ partition queue ──fill──▶ messages ──next──▶ Message, destroyed when dropped
//!                          │ was empty                ▲
//!                          └──▶ Wakeup ──▶ a reader that waits
//! ```

use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::os::raw::{c_char, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::config::NativeClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;

use crate::context::SourceContext;

/// The most messages taken from a queue at once.
pub(crate) const BATCH_RECORDS_MAX: usize = 1024;

/// Counts the moments at which one of the watched queues had something new.
#[derive(Default)]
pub(crate) struct Wakeup {
    count: Mutex<u64>,
    changed: Condvar,
}

impl Wakeup {
    /// The count, to be read before looking into the queues: then nothing that arrives meanwhile is overlooked.
    pub(crate) fn count(&self) -> u64 {
        *self.lock()
    }

    /// Waits until the count has moved past `seen`, or for `limit`.
    pub(crate) fn wait_past(&self, seen: u64, limit: Duration) {
        let guard = self.lock();
        // Who waits looks again afterwards whatever the outcome, so neither a timeout nor a poisoned lock matters.
        drop(self.changed.wait_timeout_while(guard, limit, |count| *count == seen));
    }

    fn notify(&self) {
        *self.lock() += 1;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

unsafe extern "C" fn on_nonempty(_client: *mut sys::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: `opaque` is the `Wakeup` of the `PartitionQueue` that enabled this callback. It keeps the `Arc` until
    // after it has disabled the callback, and librdkafka calls back only under the queue's lock, which disabling takes.
    unsafe { &*opaque.cast::<Wakeup>() }.notify();
}

/// A partition's queue, and the messages taken from it but not yet handed over.
pub(crate) struct PartitionQueue {
    queue: NonNull<sys::rd_kafka_queue_t>,
    messages: Vec<*mut sys::rd_kafka_message_t>,
    /// How many of `messages` have been handed over.
    taken: usize,
    /// What `on_nonempty` is called with.
    _wakeup: Arc<Wakeup>,
    /// The queue and its messages must be gone before the client is: fields are dropped after `Drop::drop` has run.
    _consumer: Arc<BaseConsumer<SourceContext>>,
}

// SAFETY: librdkafka's objects may be used from any thread; queue and messages are owned by this value alone, and all
// its methods that touch them take `&mut self`.
unsafe impl Send for PartitionQueue {}

impl PartitionQueue {
    /// Parts the partition's messages from the consumer's common queue. Called before the partition is assigned:
    /// nothing goes to the common queue then. `None` if `topic` is no possible name.
    pub(crate) fn open(
        consumer: &Arc<BaseConsumer<SourceContext>>,
        topic: &str,
        partition: i32,
        wakeup: &Arc<Wakeup>,
    ) -> Option<PartitionQueue> {
        let topic = CString::new(topic).ok()?;
        // SAFETY: the client lives as long as the `Arc` kept below; the returned queue is ours to destroy.
        let queue = NonNull::new(unsafe {
            sys::rd_kafka_queue_get_partition(consumer.client().native_ptr(), topic.as_ptr(), partition)
        })?;
        // SAFETY: `queue` is valid. Forwarding to null parts it from the common queue, and marks it so that assigning
        // doesn't join it again.
        unsafe { sys::rd_kafka_queue_forward(queue.as_ptr(), ptr::null_mut()) };
        let opaque = Arc::as_ptr(wakeup).cast_mut().cast::<c_void>();
        // SAFETY: see `on_nonempty`.
        unsafe { sys::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(on_nonempty), opaque) };
        Some(PartitionQueue {
            queue,
            messages: Vec::new(),
            taken: 0,
            _wakeup: Arc::clone(wakeup),
            _consumer: Arc::clone(consumer),
        })
    }

    /// Takes up to `records_max` messages that are there already. Returns how many there are to hand over now.
    pub(crate) fn fill(&mut self, records_max: usize) -> usize {
        if self.taken < self.messages.len() {
            return self.messages.len() - self.taken;
        }
        let wanted = records_max.clamp(1, BATCH_RECORDS_MAX);
        self.messages.clear();
        self.taken = 0;
        self.messages.reserve(wanted);
        // SAFETY: `queue` is valid, and there is room for `wanted` pointers. With a timeout of 0 the call doesn't wait.
        // It is made by one thread at a time for the whole client: the reader owns all its queues.
        let got = unsafe {
            sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, self.messages.as_mut_ptr(), wanted)
        };
        let got = usize::try_from(got).unwrap_or(0);
        // SAFETY: librdkafka has written the first `got` of them.
        unsafe { self.messages.set_len(got) };
        got
    }

    /// Whether a record is there. Events without one are left out; what they say is said again when it matters.
    pub(crate) fn holds_a_record(&mut self) -> bool {
        while self.fill(1) > 0 {
            let raw = self.messages[self.taken];
            // SAFETY: `raw` is owned by this queue, and stays so: the borrow ends here.
            if unsafe { (*raw).err } == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return true;
            }
            drop(self.next());
        }
        false
    }

    /// The next message of those taken.
    pub(crate) fn next(&mut self) -> Option<Message<'_>> {
        let raw = *self.messages.get(self.taken)?;
        self.taken += 1;
        Some(Message { raw, _queue: PhantomData })
    }
}

impl Drop for PartitionQueue {
    fn drop(&mut self) {
        while self.next().is_some() {}
        // SAFETY: `queue` is valid until the second call; after the first, `on_nonempty` isn't called any more.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// A message or an error of a partition. Dropping it lets go of librdkafka's buffers.
pub(crate) struct Message<'q> {
    raw: *mut sys::rd_kafka_message_t,
    _queue: PhantomData<&'q mut PartitionQueue>,
}

impl Drop for Message<'_> {
    fn drop(&mut self) {
        // SAFETY: `raw` came from the queue, and is handed over once (`PartitionQueue::next` moves on).
        unsafe { sys::rd_kafka_message_destroy(self.raw) };
    }
}

impl Message<'_> {
    fn fields(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: `raw` is valid until `drop`.
        unsafe { &*self.raw }
    }

    /// The error and its text, where this isn't a record.
    pub(crate) fn error(&self) -> Option<(RDKafkaErrorCode, String)> {
        let fields = self.fields();
        if fields.err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        // SAFETY: of an error, the payload is its text, and lives as long as the message.
        let text =
            unsafe { bytes(fields.payload, fields.len) }.map(String::from_utf8_lossy).unwrap_or_default();
        Some((fields.err.into(), text.into_owned()))
    }

    /// The record's offset; of an end-of-partition, the offset that a next record will have at least.
    pub(crate) fn offset(&self) -> i64 {
        self.fields().offset
    }

    /// `None`: a tombstone.
    pub(crate) fn value(&self) -> Option<&[u8]> {
        let fields = self.fields();
        // SAFETY: the payload lives as long as the message.
        unsafe { bytes(fields.payload, fields.len) }
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        let fields = self.fields();
        // SAFETY: the key lives as long as the message.
        unsafe { bytes(fields.key, fields.key_len) }
    }

    /// Milliseconds since the epoch; `None` where the record has no timestamp.
    pub(crate) fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: `raw` is valid.
        let timestamp_ms = unsafe { sys::rd_kafka_message_timestamp(self.raw, &mut kind) };
        (timestamp_ms != -1 && kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE)
            .then_some(timestamp_ms)
    }

    /// The headers in their order. A name that isn't UTF-8, which no Kafka client should write, is handed over as U+FFFD.
    pub(crate) fn headers(&self) -> Vec<(&str, Option<&[u8]>)> {
        let mut headers = ptr::null_mut();
        // SAFETY: `raw` is valid; the headers stay the message's.
        let error = unsafe { sys::rd_kafka_message_headers(self.raw, &mut headers) };
        if error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Vec::new();
        }
        let mut all = Vec::new();
        let (mut name, mut value, mut size): (*const c_char, *const c_void, usize) =
            (ptr::null(), ptr::null(), 0);
        loop {
            // SAFETY: `headers` is valid; past the last index the call fails and writes nothing.
            let error =
                unsafe { sys::rd_kafka_header_get_all(headers, all.len(), &mut name, &mut value, &mut size) };
            if error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return all;
            }
            // SAFETY: a header's name is a C string that lives as long as the message, and so does its value.
            let (name, value) = unsafe { (CStr::from_ptr(name), bytes(value, size)) };
            all.push((name.to_str().unwrap_or("\u{FFFD}"), value));
        }
    }
}

/// The bytes at `start`; `None` for a null pointer.
///
/// # Safety
/// `start` is null, or `len` bytes from it on can be read for as long as the caller ties the result to.
unsafe fn bytes<'m>(start: *const c_void, len: usize) -> Option<&'m [u8]> {
    // SAFETY: as the caller promises.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast::<u8>(), len) })
}

/// The names of all properties that librdkafka knows.
pub(crate) fn property_names(config: &NativeClientConfig) -> Vec<String> {
    let mut count = 0;
    // SAFETY: `config` is valid; the array holds `count` C strings, name and value in turn, until it is freed.
    unsafe {
        let pairs = sys::rd_kafka_conf_dump(config.ptr(), &mut count);
        let names = (0..count)
            .step_by(2)
            .map(|at| CStr::from_ptr(*pairs.add(at)).to_string_lossy().into_owned())
            .collect();
        sys::rd_kafka_conf_dump_free(pairs, count);
        names
    }
}
