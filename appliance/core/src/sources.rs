//! What the key is made of: which sources each end has, and how they say so.

use bartizan_model::ids::{Epoch, KeyId, Nonce, Spi};
use bartizan_model::message::{Answer, EngineToQkd, Offer, PeerMessage, Side};
use bartizan_model::policy::{KemSource, Need, QkdSource};
use bartizan_model::report::{Alarm, QkdRefusal, SourceSet};

use crate::budget::Fate;
use crate::classical::{self, ExchangeError};
use crate::counters::Count;
use crate::desk::Desk;
use crate::handshake::QkdShare;
use crate::kem::{Initiator, KemError, respond};
use crate::lease::Lease;
use crate::qkd::Wanted;
use crate::times::QKD_WAIT;
use crate::tunnel::Tunnel;

impl Tunnel {
    /// Asks the KME for a key: a new one, or the one that the peer named.
    pub(crate) fn fetch(
        &mut self,
        source: Option<(QkdSource, Option<KeyId>)>,
        _lease: &Lease,
        desk: &mut Desk<'_>,
    ) {
        let reqid = self.reqid();
        let Some(handshake) = &mut self.handshake else {
            return;
        };
        let Some((source, named)) = source else {
            return;
        };
        let peer = source.peer_sae;
        handshake.qkd = if !desk.shared.qkd.is_available() {
            desk.shared.budget.settle(reqid, Fate::Unknown, desk.now);
            QkdShare::Missing(QkdRefusal::Unreachable)
        } else if named
            .as_ref()
            .is_some_and(|key| !desk.shared.qkd.is_fresh(key))
        {
            desk.count(Count::QkdRefused);
            QkdShare::Missing(QkdRefusal::RepeatedKey)
        } else {
            let order = desk.shared.orders.number();
            let wanted = Wanted {
                reqid,
                epoch: handshake.epoch,
                key: named.clone(),
            };
            desk.shared.qkd.expect(order, wanted);
            desk.shared.outbox.qkd.push_back(match named {
                None => EngineToQkd::NewKey { order, peer },
                Some(key) => EngineToQkd::SameKey { order, peer, key },
            });
            QkdShare::Asked {
                order,
                until: desk.now.after(QKD_WAIT),
            }
        };
    }

    /// Speaks as soon as it is known whether there is a QKD key.
    pub(crate) fn go_on(&mut self, desk: &mut Desk<'_>) {
        let Some(handshake) = &self.handshake else {
            return;
        };
        let epoch = handshake.epoch;
        let refusal = match handshake.qkd {
            QkdShare::Asked { .. } => return,
            QkdShare::Missing(refusal) => Some(refusal),
            QkdShare::Unused | QkdShare::Got(..) => None,
        };
        let spoken = if self.initiates() {
            self.offer(desk)
        } else {
            self.answer(desk)
        };
        match spoken {
            Ok(()) if self.initiates() => {}
            Ok(()) => self.complete(epoch, desk),
            Err(alarm) => {
                let alarm = match (alarm, refusal) {
                    (Alarm::PeerMismatch, Some(refusal)) => Alarm::Qkd(refusal),
                    (alarm, _) => alarm,
                };
                self.give_up(epoch, alarm, desk);
            }
        }
    }

    fn offer(&mut self, desk: &mut Desk<'_>) -> Result<(), Alarm> {
        let (kem, classical) = (self.keying().kem, self.keying().classical);
        let tunnel = self.id();
        let required = |sources| self.suffices(sources);
        let Some(handshake) = &self.handshake else {
            return Ok(());
        };
        let qkd_key = match &handshake.qkd {
            QkdShare::Got(id, _) => Some(id.clone()),
            QkdShare::Unused | QkdShare::Asked { .. } | QkdShare::Missing(_) => None,
        };
        let sources = SourceSet {
            qkd: qkd_key.is_some(),
            kem: kem.is_some(),
            classical: classical.is_some(),
        };
        if !required(sources) {
            return Err(Alarm::PeerMismatch);
        }
        let spi = self.own_spi(handshake.epoch).ok_or(Alarm::Kernel)?;
        let (initiator, encapsulation_key) = match kem {
            Some(KemSource { parameter_set, .. }) => {
                let generated = Initiator::generate(parameter_set, desk.entropy);
                let (initiator, key) = generated.map_err(|cause| kem_alarm(&cause))?;
                (Some(initiator), key)
            }
            None => (None, Vec::new()),
        };
        let (exchange, public_key) = match classical {
            Some(_) => {
                let generated = classical::Initiator::generate(desk.entropy);
                let (exchange, key) = generated.map_err(|cause| exchange_alarm(&cause))?;
                (Some(exchange), key)
            }
            None => (None, Vec::new()),
        };
        let offer = Offer {
            tunnel,
            epoch: handshake.epoch,
            side: Side::Initiator,
            nonce: fresh_nonce(desk),
            spi,
            sources,
            encapsulation_key,
            public_key,
            qkd_key,
        };
        desk.say(PeerMessage::Offer(Box::new(offer.clone())));
        if let Some(handshake) = &mut self.handshake {
            handshake.initiator = initiator;
            handshake.exchange = exchange;
            handshake.offer = Some(offer);
        }
        Ok(())
    }

    fn answer(&mut self, desk: &mut Desk<'_>) -> Result<(), Alarm> {
        let (kem, classical) = (self.keying().kem, self.keying().classical);
        let Some(handshake) = &self.handshake else {
            return Ok(());
        };
        let offer = handshake.offer.as_ref().ok_or(Alarm::PeerMismatch)?;
        let qkd_key = match &handshake.qkd {
            QkdShare::Got(id, _) => Some(id.clone()),
            QkdShare::Unused | QkdShare::Asked { .. } | QkdShare::Missing(_) => None,
        };
        let kem = kem.filter(|_| offer.sources.kem);
        let classical = classical.filter(|_| offer.sources.classical);
        let sources = SourceSet {
            qkd: qkd_key.is_some(),
            kem: kem.is_some(),
            classical: classical.is_some(),
        };
        if !self.suffices(sources) {
            return Err(Alarm::PeerMismatch);
        }
        let spi = self.own_spi(handshake.epoch).ok_or(Alarm::Kernel)?;
        let (ciphertext, shared) = match kem {
            Some(KemSource { parameter_set, .. }) => {
                let key = &offer.encapsulation_key;
                let answered = respond(parameter_set, key, desk.entropy);
                let (ciphertext, shared) = answered.map_err(|cause| kem_alarm(&cause))?;
                (ciphertext, Some(shared))
            }
            None => (Vec::new(), None),
        };
        let (public_key, agreed) = match classical {
            Some(_) => {
                let answered = classical::respond(&offer.public_key, desk.entropy);
                let (key, agreed) = answered.map_err(|cause| exchange_alarm(&cause))?;
                (key, Some(agreed))
            }
            None => (Vec::new(), None),
        };
        let answer = Answer {
            tunnel: offer.tunnel,
            epoch: offer.epoch,
            side: Side::Responder,
            nonce: fresh_nonce(desk),
            spi,
            sources,
            ciphertext,
            public_key,
            qkd_key,
        };
        desk.say(PeerMessage::Answer(Box::new(answer.clone())));
        if let Some(handshake) = &mut self.handshake {
            handshake.kem = shared;
            handshake.classical = agreed;
            handshake.answer = Some(answer);
        }
        Ok(())
    }

    pub(crate) fn take_answer(&mut self, answer: Answer) -> Result<(), Alarm> {
        let Some(handshake) = &mut self.handshake else {
            return Ok(());
        };
        if answer.sources.kem {
            let initiator = handshake.initiator.take().ok_or(Alarm::PeerMismatch)?;
            let shared = initiator.finish(&answer.ciphertext);
            handshake.kem = Some(shared.map_err(|cause| kem_alarm(&cause))?);
        } else {
            handshake.initiator = None;
        }
        let exchange = handshake.exchange.take();
        if answer.sources.classical {
            let exchange = exchange.ok_or(Alarm::PeerMismatch)?;
            let agreed = exchange.finish(&answer.public_key);
            handshake.classical = Some(agreed.map_err(|cause| exchange_alarm(&cause))?);
        }
        handshake.answer = Some(answer);
        Ok(())
    }

    pub(crate) fn complete(&mut self, epoch: Epoch, desk: &mut Desk<'_>) {
        // It waits for its sources in the one state in which it has no answer yet.
        self.act(desk, Some(Alarm::PeerMismatch), |wheel, effects| {
            let _taken = wheel.sources_complete(epoch, effects);
        });
    }

    /// The responder makes no use of the key that our offer named: told, because only so does it show
    /// that a link is good at one end alone.
    pub(crate) fn tell_unused(&self, epoch: Epoch, desk: &mut Desk<'_>) {
        let waits = self
            .handshake
            .as_ref()
            .filter(|h| self.initiates() && h.epoch == epoch && h.answer.is_none());
        let key = waits
            .and_then(|handshake| handshake.offer.as_ref())
            .and_then(|offer| offer.qkd_key.clone());
        if let Some((key, source)) = key.zip(self.keying().qkd.as_ref()) {
            let peer = source.peer_sae.clone();
            let unused = EngineToQkd::Unused { peer, key };
            desk.shared.outbox.qkd.push_back(unused);
        }
    }

    fn own_spi(&self, epoch: Epoch) -> Option<Spi> {
        self.wheel.generation(epoch)?.inbound.spi
    }

    /// Whether an offer is one that this tunnel's policy can answer.
    pub(crate) fn fits(&self, offer: &Offer) -> bool {
        let keying = self.keying();
        let key_len = offer.encapsulation_key.len();
        let key_fits = match (offer.sources.kem, keying.kem) {
            (true, Some(kem)) => key_len == kem.parameter_set.encapsulation_key_len(),
            (true, None) => false,
            (false, _) => key_len == 0,
        };
        let qkd_fits = offer.sources.qkd == offer.qkd_key.is_some()
            && (keying.qkd.is_some() || !offer.sources.qkd);
        key_fits
            && qkd_fits
            && self.has_public_key(offer.sources, &offer.public_key)
            && self.suffices(offer.sources)
    }

    /// Whether a public key is there if, and only if, the classical source is, and may be.
    fn has_public_key(&self, sources: SourceSet, key: &[u8]) -> bool {
        match (sources.classical, self.keying().classical) {
            (true, Some(_)) => key.len() == classical::LEN,
            (true, None) => false,
            (false, _) => key.is_empty(),
        }
    }

    /// Whether an answer has what its sources need, and no more.
    pub(crate) fn is_answered_by(&self, answer: &Answer) -> bool {
        let len = answer.ciphertext.len();
        let ciphertext = match (answer.sources.kem, self.keying().kem) {
            (true, Some(kem)) => len == kem.parameter_set.ciphertext_len(),
            (true, None) => false,
            (false, _) => len == 0,
        };
        ciphertext && self.has_public_key(answer.sources, &answer.public_key)
    }

    /// Whether nothing that is required is missing, and anything is there at all.
    pub(crate) fn suffices(&self, sources: SourceSet) -> bool {
        let keying = self.keying();
        let qkd = keying.qkd.as_ref().map(|source| source.need);
        let kem = keying.kem.map(|source| source.need);
        let satisfied = |need: Option<Need>, there| there || need != Some(Need::Required);
        sources != SourceSet::NONE
            && satisfied(qkd, sources.qkd)
            && satisfied(kem, sources.kem)
            && satisfied(keying.classical, sources.classical)
    }
}

fn fresh_nonce(desk: &mut Desk<'_>) -> Nonce {
    let mut nonce = Nonce([0; 32]);
    (desk.entropy)(&mut nonce.0);
    nonce
}

fn kem_alarm(cause: &KemError) -> Alarm {
    match cause {
        KemError::EncapsulationKey | KemError::Ciphertext => Alarm::PeerMismatch,
        KemError::Lock(_) => Alarm::LockedMemory,
    }
}

fn exchange_alarm(cause: &ExchangeError) -> Alarm {
    match cause {
        ExchangeError::PublicKey => Alarm::PeerMismatch,
        ExchangeError::Lock(_) => Alarm::LockedMemory,
    }
}
