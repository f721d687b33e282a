//! Events off the front of a log, little-endian.

use super::{Event, EventType, LogError, extended_pcr};
use crate::replay::Bank;

/// The most banks that a log announces; more than any TPM has.
const BANKS_MAX: u32 = 16;

/// Takes fields off the front.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `TCG_PCR_EVENT`.
    pub(super) fn event_sha1(&mut self, number: usize) -> Result<Event<'a>, LogError> {
        self.sha1(number).ok_or(LogError::Truncated(number))?
    }

    /// `TCG_PCR_EVENT2`.
    pub(super) fn event_agile(
        &mut self,
        number: usize,
        spec: &SpecId,
    ) -> Result<Event<'a>, LogError> {
        self.agile(number, spec)
            .ok_or(LogError::Truncated(number))?
    }

    /// `None` where the log ends.
    fn sha1(&mut self, number: usize) -> Option<Result<Event<'a>, LogError>> {
        let (pcr, kind) = (self.u32()?, self.u32()?);
        let digest = self.take(Bank::Sha1.width())?;
        let data = self.sized()?;
        let digests = vec![(Bank::Sha1.id(), digest)];
        Some(event(number, pcr, kind, digests, data))
    }

    fn agile(&mut self, number: usize, spec: &SpecId) -> Option<Result<Event<'a>, LogError>> {
        let (pcr, kind) = (self.u32()?, self.u32()?);
        let count = self.u32()?;
        // Windows leaves out the banks that it does not use.
        let announced = u32::try_from(spec.widths.len()).unwrap_or(BANKS_MAX);
        if !(1..=announced).contains(&count) {
            return Some(Err(LogError::Digests(number)));
        }
        let mut digests: Vec<(u16, &[u8])> = Vec::new();
        for _ in 0..count {
            let id = self.u16()?;
            let width = spec.width(id);
            let repeated = digests.iter().any(|(earlier, _)| *earlier == id);
            let (Some(width), false) = (width, repeated) else {
                return Some(Err(LogError::Digests(number)));
            };
            digests.push((id, self.take(width)?));
        }
        let data = self.sized()?;
        Some(event(number, pcr, kind, digests, data))
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// Four bytes of length, then that many.
    fn sized(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u32()?).ok()?;
        self.take(len)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
}

fn event<'a>(
    number: usize,
    pcr: u32,
    kind: u32,
    digests: Vec<(u16, &'a [u8])>,
    data: &'a [u8],
) -> Result<Event<'a>, LogError> {
    let unknown = LogError::UnknownType {
        event: number,
        value: kind,
    };
    let kind = EventType::known(kind).ok_or(unknown)?;
    Ok(Event {
        pcr: extended_pcr(number, kind, pcr)?,
        kind,
        digests,
        data,
    })
}

/// `TCG_EfiSpecIdEvent` (Profile, 10.4.5.1): the banks of a log and the widths of their digests.
pub(super) struct SpecId {
    widths: Vec<(u16, usize)>,
}

impl SpecId {
    /// What a log without the event has.
    pub(super) fn sha1() -> Self {
        Self {
            widths: vec![(Bank::Sha1.id(), Bank::Sha1.width())],
        }
    }

    /// `None` if the event announces no crypto-agile log.
    pub(super) fn parse(data: &[u8]) -> Result<Option<Self>, LogError> {
        let Some(announced) = data.strip_prefix(b"Spec ID Event03\0") else {
            return Ok(None);
        };
        Self::read(&mut Reader::new(announced))
            .filter(Self::is_sound)
            .map(Some)
            .ok_or(LogError::SpecId)
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let _platform_class = from.u32()?;
        // Version, errata and the size of a UINTN: nothing depends on them.
        from.take(4)?;
        let count = Some(from.u32()?).filter(|count| (1..=BANKS_MAX).contains(count))?;
        let mut widths = Vec::new();
        for _ in 0..count {
            widths.push((from.u16()?, usize::from(from.u16()?)));
        }
        let vendor = from.u8()?;
        from.take(usize::from(vendor))?;
        from.is_empty().then_some(Self { widths })
    }

    /// No bank twice, and those that are known as wide as they are.
    fn is_sound(&self) -> bool {
        let known = |id: u16| Bank::ALL.into_iter().find(|bank| bank.id() == id);
        self.widths.iter().enumerate().all(|(at, (id, width))| {
            let repeated = self.widths.iter().take(at).any(|(other, _)| other == id);
            !repeated && known(*id).is_none_or(|bank| bank.width() == *width)
        })
    }

    fn width(&self, id: u16) -> Option<usize> {
        let (_, width) = self.widths.iter().find(|(known, _)| *known == id)?;
        Some(*width)
    }
}
