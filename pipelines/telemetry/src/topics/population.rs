//! `agent_metrics`: populations in training (Jaderberg et al.: Population based training of neural networks, 2017). Agents
//! learn the faster the closer their learning rate is to their task's best; every few generations the worst fifth copies
//! the best fifth and varies what it copied.

use std::sync::Arc;

use crate::incident::IncidentKind;
use crate::json::{Json, fields, numbered};
use crate::random::{Draw, For};
use crate::stream::{Generator, Times};
use crate::world::{POPULATIONS, Schedule, World};

/// Seconds of a generation, where the number of events allows it.
const GENERATION_S: u64 = 20;
/// Agents of a population, at least.
const AGENTS_MIN: u64 = 8;
const EXPLOIT_EVERY: u64 = 4;
const TARGET_SCORE: f64 = 0.8;

/// All populations, generation by generation, keyed by agent.
pub(crate) struct Populations {
    world: Arc<World>,
    schedule: Schedule,
    agents: u64,
    /// Population after population.
    states: Vec<Agent>,
    next: u64,
}

#[derive(Debug, Clone, Copy)]
struct Agent {
    /// What it can do, 0 to 1.
    skill: f64,
    lr: f64,
    epsilon: f64,
    discount: f64,
    reward_shaping: f64,
    /// The agent, of the same population, that it was copied from for this generation.
    migrated_from: Option<u64>,
}

impl Populations {
    pub(crate) fn new(world: Arc<World>, schedule: Schedule, duration_s: u64) -> Populations {
        let populations = POPULATIONS.len() as u64;
        let generations =
            (duration_s / GENERATION_S).min(schedule.count() / (populations * AGENTS_MIN)).max(1);
        let agents = schedule.count().div_ceil(populations * generations).max(AGENTS_MIN);
        let mut draw = Draw::new(world.seed, For::Population, u64::MAX);
        let states = (0..populations * agents).map(|_| Agent {
            skill: 0.02 + 0.1 * draw.unit(),
            lr: draw.log_normal(0.001, 0.8),
            epsilon: 0.05 + 0.4 * draw.unit(),
            discount: 0.95 + 0.049 * draw.unit(),
            reward_shaping: 0.2 + 0.6 * draw.unit(),
            migrated_from: None,
        });
        Populations { states: states.collect(), agents, world, schedule, next: 0 }
    }

    fn evolve(&mut self, generation: u64, at_ms: i64) {
        for (number, agents) in self.states.chunks_mut(self.agents as usize).enumerate() {
            let name = POPULATIONS[number];
            let mut draw = Draw::new(self.world.seed, For::Population, generation * 64 + number as u64);
            let stalled =
                self.world.befalls(IncidentKind::StalledPopulation, at_ms, |target| target == name).is_some();
            let best_lr = 0.0004 * (1 + number) as f64;
            let mean = |of: fn(&Agent) -> f64, agents: &[Agent]| {
                agents.iter().map(of).sum::<f64>() / agents.len() as f64
            };
            let (lr, epsilon) = (mean(|agent| agent.lr, agents), mean(|agent| agent.epsilon, agents));
            for agent in agents.iter_mut() {
                agent.migrated_from = None;
                if stalled {
                    agent.lr += (lr - agent.lr) * 0.3;
                    agent.epsilon += (epsilon - agent.epsilon) * 0.3;
                } else {
                    let fit = agent.lr.min(best_lr) / agent.lr.max(best_lr);
                    agent.skill += 0.012 * fit * (0.5 + draw.unit()) * (1.0 - agent.skill);
                    agent.epsilon = (agent.epsilon * 0.995).max(0.01);
                }
            }
            if generation.is_multiple_of(EXPLOIT_EVERY) && !stalled {
                exploit(agents, &mut draw);
            }
        }
    }
}

/// The worst fifth becomes the best fifth, varied.
fn exploit(agents: &mut [Agent], draw: &mut Draw) {
    let mut order: Vec<usize> = (0..agents.len()).collect();
    order.sort_by(|&a, &b| agents[a].skill.total_cmp(&agents[b].skill).then(a.cmp(&b)));
    let fifth = (agents.len() / 5).max(1);
    for rank in 0..fifth {
        let from = order[agents.len() - 1 - rank];
        let mut copy = agents[from];
        let mut vary = |value: f64| if draw.chance(0.5) { value * 1.2 } else { value * 0.8 };
        copy.lr = vary(copy.lr);
        copy.epsilon = vary(copy.epsilon).clamp(0.01, 0.9);
        copy.reward_shaping = vary(copy.reward_shaping).clamp(0.01, 2.0);
        copy.discount = (copy.discount + 0.004 * (draw.unit() - 0.5)).clamp(0.9, 0.9999);
        copy.migrated_from = Some(from as u64);
        agents[order[rank]] = copy;
    }
}

impl Generator for Populations {
    fn next(&mut self, key: &mut Vec<u8>, value: &mut Vec<u8>) -> Option<Times> {
        if self.next == self.schedule.count() {
            return None;
        }
        let at_ms = self.schedule.at(self.next);
        let populations = POPULATIONS.len() as u64;
        let of_all = self.next % (populations * self.agents);
        let generation = self.next / (populations * self.agents);
        if of_all == 0 && generation > 0 {
            self.evolve(generation, at_ms);
        }
        let (agent, population) = (of_all / populations, of_all % populations);
        let state = self.states[(population * self.agents + agent) as usize];
        let mut draw = Draw::new(self.world.seed, For::Agent, self.next);
        self.next += 1;

        // Now and then an episode goes wrong from its first step.
        let zero = draw.chance(0.02);
        let score = if zero { 0.0 } else { (state.skill + 0.03 * draw.normal()).clamp(0.0, 1.0) };
        let name = POPULATIONS[population as usize];
        numbered(key, name, agent, 4);
        let mut json = Json(value);
        json.open();
        fields!(json;
            "agent_id": bytes(key),
            "node": numbered("gpu-", of_all % 4, 3),
            "population": text(name),
            "generation": int(generation as i64),
            "timestamp": int(at_ms),
            "performance_score": number(score, 4),
            "episodes": int(draw.between(40, 120)),
            "episode_seconds": number(draw.log_normal(14.0, 0.15), 3),
            "target_achieved": bool(score >= TARGET_SCORE),
            "value": number(score * 100.0 + 2.0 * draw.normal(), 3),
        );
        json.raw("\"hyperparameters\":");
        json.open();
        fields!(json;
            "epsilon": number(state.epsilon, 5),
            "lr": number(state.lr, 8),
            "discount": number(state.discount, 5),
            "reward_shaping": number(state.reward_shaping, 4),
        );
        json.close();
        if let Some(from) = state.migrated_from {
            fields!(json; "migrated_from": numbered(name, from, 4));
        }
        fields!(json;
            "memory_bytes": int(2_147_483_648 + draw.between(0, 400_000_000)),
            "gpu_utilization": number((70.0 + 12.0 * draw.normal()).clamp(0.0, 100.0), 1),
            "network_bytes": int(draw.between(1_000_000, 40_000_000)),
        );
        json.finish();
        Some(Times { floor_ms: at_ms, event_ms: at_ms })
    }
}
