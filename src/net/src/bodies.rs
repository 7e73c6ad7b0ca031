//! Bytes in flight: what requests bring and answers carry, bounded by size and by patience.
//!
//! Room is taken as bytes arrive, not by what a request declares: a declared length costs its sender nothing. It is
//! given back when the request is answered, since whoever read the body holds it until then.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep},
};

/// Longest nothing of a body may arrive, and how long a body may be slower than [`RATE`].
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Slowest a body may arrive, bytes a second.
pub const RATE: u64 = 8 << 10;

/// What every body may bring without taking room, bytes: small requests pass while large ones wait.
pub(crate) const SMALL: usize = 64 << 10;

/// Memory taken for a body, at most so many times what has arrived of it.
const AHEAD: usize = 8;

/// A body is gathered in blocks of so many bytes: one that is given up leaves nothing but such blocks, and the next one takes
/// them. Vectors that grow leave pieces of all sizes, which an allocator keeps for seconds; a flood of them was three times
/// the room that there is.
const BLOCK: usize = 256 << 10;

/// Room is counted in these, bytes.
const UNIT: usize = 1024;

/// Room for bytes.
#[derive(Clone)]
pub(crate) struct Room(Arc<Semaphore>);

impl Room {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / UNIT)))
    }

    pub(crate) fn left(&self) -> usize {
        self.0.available_permits() * UNIT
    }

    pub(crate) fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        self.0.clone().try_acquire_many_owned(units).ok()
    }
}

/// Why a body was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    NoRoom = 1,
    Slow = 2,
}

/// What one request holds of a room, and whether its body was stopped.
#[derive(Clone, Default)]
pub(crate) struct Held {
    permit: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
    stopped: Arc<AtomicU8>,
}

impl Held {
    fn add(&self, more: OwnedSemaphorePermit) {
        let mut permit = self.permit.lock().unwrap_or_else(PoisonError::into_inner);
        match permit.as_mut() {
            Some(permit) => permit.merge(more),
            None => *permit = Some(more),
        }
    }

    fn stop(&self, why: Stopped) {
        self.stopped.store(why as u8, Ordering::Release);
    }

    pub(crate) fn stopped(&self) -> Option<Stopped> {
        match self.stopped.load(Ordering::Acquire) {
            1 => Some(Stopped::NoRoom),
            2 => Some(Stopped::Slow),
            _ => None,
        }
    }
}

/// A request's body that takes room as it arrives and gives up on a sender that is too slow.
pub(crate) struct Metered {
    body: Body,
    room: Room,
    held: Held,
    began: Instant,
    patience: Duration,
    got: u64,
    /// Bytes that room is already taken for.
    paid: u64,
    due: Pin<Box<Sleep>>,
}

impl Metered {
    pub(crate) fn new(body: Body, room: Room, held: Held) -> Self {
        Self::within(body, room, held, PATIENCE)
    }

    fn within(body: Body, room: Room, held: Held, patience: Duration) -> Self {
        let began = Instant::now();
        let due = Box::pin(tokio::time::sleep_until(began + patience));
        Self { body, room, held, began, patience, got: 0, paid: SMALL as u64, due }
    }

    /// Room for what has arrived.
    fn pay(&mut self) -> bool {
        let missing = self.got.saturating_sub(self.paid) as usize;
        if missing == 0 {
            return true;
        }
        // A little ahead, so that small frames do not each take a whole unit.
        let ahead = missing.max(16 * UNIT);
        let Some((permit, bytes)) =
            self.room.take(ahead).map(|p| (p, ahead)).or_else(|| self.room.take(missing).map(|p| (p, missing)))
        else {
            return false;
        };
        self.held.add(permit);
        self.paid += bytes as u64;
        true
    }
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.got += frame.data_ref().map_or(0, |d| d.len() as u64);
                if !this.pay() {
                    this.held.stop(Stopped::NoRoom);
                    return Poll::Ready(Some(Err("there is no room for more bodies".into())));
                }
                let by_rate = this.began + this.patience + Duration::from_millis(this.got.saturating_mul(1000) / RATE);
                this.due.as_mut().reset(by_rate.min(Instant::now() + this.patience));
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Pending => match this.due.as_mut().poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) => {
                    this.held.stop(Stopped::Slow);
                    Poll::Ready(Some(Err("the body arrives too slowly".into())))
                }
            },
            Poll::Ready(Some(Err(e))) => Poll::Ready(Some(Err(e.into()))),
            Poll::Ready(None) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Why a body is not had whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread<E> {
    /// It is longer than it may be.
    TooLong,
    /// It ended before its end; why.
    Broken(E),
}

/// The whole of a body of at most `limit` bytes. They are copied out of the frames that they come in: a frame of one byte
/// takes many times that, and room is taken for bytes.
///
/// # Errors
/// [`Unread`].
pub async fn whole<B>(mut body: B, limit: usize) -> Result<Bytes, Unread<B::Error>>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    // A length that is declared costs its sender nothing, so memory is taken as bytes arrive, too.
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX).min(limit);
    let (mut blocks, mut arrived): (Vec<Vec<u8>>, usize) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Unread::Broken)?.into_data() else { continue };
        if data.len() > limit - arrived {
            return Err(Unread::TooLong);
        }
        let mut data = &data[..];
        while !data.is_empty() {
            if blocks.last().is_none_or(|block| block.len() == BLOCK) {
                blocks.push(Vec::new());
            }
            let Some(block) = blocks.last_mut() else { break };
            let (here, later) = data.split_at(data.len().min(BLOCK - block.len()));
            let expected = if declared > arrived { declared - arrived } else { block.len() };
            arrived += here.len();
            if block.capacity() - block.len() < here.len() {
                let most = (BLOCK - block.len()).min(arrived.saturating_mul(AHEAD));
                block.reserve_exact(expected.min(most).max(here.len()));
            }
            block.extend_from_slice(here);
            data = later;
        }
    }
    if blocks.len() <= 1 {
        return Ok(blocks.pop().unwrap_or_default().into());
    }
    let mut whole = Vec::with_capacity(arrived);
    blocks.into_iter().for_each(|block| whole.extend_from_slice(&block));
    Ok(whole.into())
}

/// A body whose bytes keep its room until they are sent or dropped: HTTP lets go of a body once it has the bytes, which then
/// wait for a peer who reads them.
pub(crate) fn keeping(body: Body, permit: OwnedSemaphorePermit) -> Body {
    struct Kept {
        bytes: Bytes,
        _permit: Arc<OwnedSemaphorePermit>,
    }
    impl AsRef<[u8]> for Kept {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }
    let permit = Arc::new(permit);
    Body::new(
        body.map_frame(move |frame| frame.map_data(|bytes| Bytes::from_owner(Kept { bytes, _permit: permit.clone() }))),
    )
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::atomic::AtomicUsize};

    use http::Response;
    use hyper::{server::conn::http1, service::service_fn};
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::pace::Paced;

    #[tokio::test]
    async fn of_many_small_frames_none_is_kept() {
        struct Small(Bytes, Arc<AtomicUsize>);
        impl AsRef<[u8]> for Small {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        impl Drop for Small {
            fn drop(&mut self) {
                self.1.fetch_sub(1, Ordering::Relaxed);
            }
        }
        /// As many frames of a byte, each made when it is asked for; how many there are at once, at most.
        struct Frames(usize, Arc<AtomicUsize>, Arc<AtomicUsize>);
        impl HttpBody for Frames {
            type Data = Bytes;
            type Error = Infallible;
            fn poll_frame(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
                let Some(left) = self.0.checked_sub(1) else { return Poll::Ready(None) };
                self.0 = left;
                let now = self.1.fetch_add(1, Ordering::Relaxed) + 1;
                self.2.fetch_max(now, Ordering::Relaxed);
                let small = Small(Bytes::from_static(b"x"), self.1.clone());
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(small)))))
            }
        }
        let most = Arc::<AtomicUsize>::default();
        let frames = |n| Frames(n, Arc::default(), most.clone());
        assert_eq!(whole(frames(1000), 1000).await, Ok(Bytes::from(vec![b'x'; 1000])));
        assert_eq!(whole(frames(1001), 1000).await, Err(Unread::TooLong));
        assert_eq!(most.load(Ordering::Relaxed), 1);
        most.store(0, Ordering::Relaxed);
        let read = crate::auth::read_body(Body::new(frames(1000))).await;
        assert_eq!((read.map(|b| b.len()).ok(), most.load(Ordering::Relaxed)), (Some(1000), 1));
    }

    /// Whatever the frames are, and whether their length is told or is a lie, a body is its bytes.
    #[tokio::test]
    async fn a_body_is_put_together_from_its_frames() {
        struct Frames(Vec<Bytes>, u64);
        impl HttpBody for Frames {
            type Data = Bytes;
            type Error = Infallible;
            fn poll_frame(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
                Poll::Ready(self.0.pop().map(|data| Ok(Frame::data(data))))
            }
            fn size_hint(&self) -> SizeHint {
                let mut hint = SizeHint::new();
                hint.set_lower(self.1);
                hint
            }
        }
        let sizes: [&[usize]; 8] = [
            &[],
            &[0, 1, 0],
            &[BLOCK],
            &[BLOCK - 1, 1, 1],
            &[3 * BLOCK + 7],
            &[1, 2 * BLOCK, BLOCK - 1, 5],
            &[100_000; 31],
            &[999; 700],
        ];
        for sizes in sizes {
            let length: usize = sizes.iter().sum();
            let bytes: Vec<u8> = (0..length).map(|n| (n * 31 + n / 251) as u8).collect();
            for declared in [0, length / 2, length, 1 << 40] {
                let mut rest = &bytes[..];
                let mut frames: Vec<Bytes> = Vec::new();
                for size in sizes {
                    let (frame, later) = rest.split_at(*size);
                    frames.push(Bytes::copy_from_slice(frame));
                    rest = later;
                }
                frames.reverse();
                let read = whole(Frames(frames.clone(), declared as u64), length).await.unwrap();
                assert!(read == bytes, "{sizes:?}, {declared} declared");
                let over = whole(Frames(frames, declared as u64), length.saturating_sub(1)).await;
                assert!(length == 0 || over == Err(Unread::TooLong));
            }
        }
    }

    #[tokio::test]
    async fn an_answer_keeps_its_room_until_it_is_read() {
        const SIZE: usize = 1 << 20;
        let room = Room::new(2 * SIZE);
        let (near, mut far) = tokio::io::duplex(4 << 10);
        let answers = room.clone();
        let service = service_fn(move |_| {
            let permit = answers.take(SIZE).expect("room for it");
            std::future::ready(Ok::<_, Infallible>(Response::new(keeping(Body::from(vec![7; SIZE]), permit))))
        });
        let serving = http1::Builder::new().serve_connection(TokioIo::new(Paced::new(near)), service);
        let serving = tokio::spawn(serving);
        far.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        far.read_exact(&mut [0; 512]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(room.left(), SIZE, "nearly all of it waits to be read");
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).await.unwrap();
        serving.await.unwrap().unwrap();
        assert_eq!((rest.iter().filter(|b| **b == 7).count() > SIZE - 512, room.left()), (true, 2 * SIZE));
    }

    #[tokio::test]
    async fn room_is_taken_as_bytes_arrive_and_given_back() {
        let (room, held) = (Room::new(64 << 10), Held::default());
        let large = || Body::from(vec![0; SMALL + (40 << 10)]);
        let body = Metered::new(large(), room.clone(), held.clone());
        assert_eq!(room.left(), 64 << 10, "nothing has arrived");
        let read = body.collect().await.expect("room for it").to_bytes();
        assert_eq!((read.len(), room.left()), (SMALL + (40 << 10), 24 << 10), "held while the request is worked on");
        let second = Held::default();
        let small = Metered::new(Body::from(vec![0; SMALL]), Room::new(0), second.clone());
        assert!(small.collect().await.is_ok(), "small ones need none");
        let more = Metered::new(large(), room.clone(), second.clone());
        assert!(more.collect().await.is_err());
        assert_eq!(second.stopped(), Some(Stopped::NoRoom));
        drop((read, held, second));
        assert_eq!(room.left(), 64 << 10);
    }

    #[tokio::test]
    async fn a_body_that_trickles_is_given_up() {
        // Never still for as long as patience lasts, and far below the rate.
        let (patience, held) = (Duration::from_millis(400), Held::default());
        let trickle = trickling(Duration::from_millis(150));
        let began = Instant::now();
        assert!(Metered::within(trickle, Room::new(1 << 20), held.clone(), patience).collect().await.is_err());
        assert_eq!(held.stopped(), Some(Stopped::Slow));
        assert!(began.elapsed() < 3 * patience, "{:?}", began.elapsed());
    }

    fn trickling(every: Duration) -> Body {
        struct Trickle(Pin<Box<Sleep>>, Duration);
        impl HttpBody for Trickle {
            type Data = Bytes;
            type Error = Infallible;
            fn poll_frame(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
                std::task::ready!(self.0.as_mut().poll(cx));
                let next = Instant::now() + self.1;
                self.0.as_mut().reset(next);
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
            }
        }
        Body::new(Trickle(Box::pin(tokio::time::sleep(every)), every))
    }
}
