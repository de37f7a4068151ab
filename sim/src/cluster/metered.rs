//! What an autoscaler sees of the cluster.

use tokentide_autoscale::Workload;
use tokentide_autoscale::pods::{GatewayMetrics, Pod, PodMetrics};
use tokentide_models::units::Time;

use super::control::Control;
use super::fleet::Fleet;
use super::meter::HostTime;
use super::relay::Relay;
use crate::engine::Observer;

/// The cluster at the moment that an autoscaler looks at it.
pub struct Metered<'m, 'a, 'o, O> {
    /// The pods.
    pub control: &'m Control<'a>,
    /// Their engines.
    pub fleet: &'m mut Fleet<'a>,
    /// Who has counted.
    pub relay: &'m mut Relay<'o, O>,
    /// Requests that have arrived.
    pub arrivals: u64,
    /// Host time outside the engines.
    pub host: HostTime,
}

impl<O: Observer> Metered<'_, '_, '_, O> {
    fn settle(&mut self, engine: usize, now: Time) {
        self.fleet.settle(engine, now, self.relay);
    }
}

impl<O: Observer> Workload for Metered<'_, '_, '_, O> {
    fn pods(&self) -> Vec<Pod> {
        self.control.pods.seen()
    }

    fn pod_metrics(&mut self, pod: u32, now: Time) -> PodMetrics {
        let Some(engine) = self.control.pods.engine(pod as usize) else { return PodMetrics::new() };
        self.settle(engine, now);
        let meter = self.relay.meter.as_mut().expect("an autoscaled cluster counts");
        meter.pod(engine, self.fleet, self.host)
    }

    fn gateway_metrics(&mut self, now: Time) -> GatewayMetrics {
        for i in 0..self.fleet.alive().len() {
            self.settle(self.fleet.alive()[i], now);
        }
        let meter = self.relay.meter.as_ref().expect("an autoscaled cluster counts");
        let loads = self.fleet.alive().iter().map(|&engine| self.fleet.levels(engine));
        meter.gateway(self.arrivals, self.control.held.iter().map(|(request, _)| request), loads)
    }
}
