//! Scales: what a change makes all that is declared weigh, and whether that is too much.

use super::change::{Plan, Refused};
use super::desired::{Entry, Registry};
use super::weight;

/// What a plan makes all that is declared weigh.
pub(super) struct Scales {
    before: u64,
    bytes_max: u64,
    bytes: u64,
    /// Of what is looked at already.
    fresh: u64,
}

impl Scales {
    /// With the templates and the tenants of the plan.
    pub(super) fn new(registry: &Registry, plan: &Plan) -> Result<Self, Refused> {
        let (before, bytes_max) = (registry.bytes, registry.bytes_max);
        let mut scales = Self { before, bytes_max, bytes: before, fresh: 0 };
        for (code, declared) in &plan.templates {
            let known = registry.templates.get(code);
            let new = declared.in_force().map(|_| weight::of_template(declared));
            scales.step(known.map(weight::of_template), new)?;
        }
        for (name, declared) in &plan.tenants {
            let known = registry.tenants.get(name);
            let new = declared.in_force().map(|_| weight::of_tenant(declared));
            scales.step(known.map(weight::of_tenant), new)?;
        }
        Ok(scales)
    }

    /// A stream becomes another one, is made, or is no more.
    pub(super) fn replace(
        &mut self,
        old: Option<&Entry>,
        new: Option<&Entry>,
    ) -> Result<(), Refused> {
        self.step(old.map(weight::of_stream), new.map(weight::of_stream))
    }

    /// Errors: what is made beside what is there already takes more than all may. A change of one
    /// template may make much of thousands of streams.
    fn step(&mut self, old: Option<usize>, new: Option<usize>) -> Result<(), Refused> {
        let (old, new) = (old.unwrap_or(0) as u64, new.unwrap_or(0) as u64);
        self.bytes = self.bytes - old + new;
        self.fresh += new;
        match self.fresh > self.before.max(self.bytes_max) {
            true => Err(self.too_heavy(self.fresh)),
            false => Ok(()),
        }
    }

    /// What all weighs; what is too much already may become less.
    pub(super) fn weigh(&self) -> Result<u64, Refused> {
        match self.bytes > self.bytes_max && self.bytes > self.before {
            true => Err(self.too_heavy(self.bytes)),
            false => Ok(self.bytes),
        }
    }

    const fn too_heavy(&self, bytes: u64) -> Refused {
        Refused::TooHeavy { bytes, bytes_max: self.bytes_max }
    }
}
