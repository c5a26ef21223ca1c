//! Actors, stores, jobs and events: owns all state and executes plans.
