//! What cargo knows about the workspace and its dependencies.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// A package that takes part in the build.
#[derive(Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// The licence expression in its manifest.
    pub license: Option<String>,
    /// Whether it is part of this workspace.
    pub local: bool,
    /// Names of the packages it needs to run or build; what only its tests need is left out.
    pub dependencies: Vec<String>,
}

/// Every package of the build, as `cargo metadata` tells.
pub fn packages(root: &Path) -> Result<Vec<Package>, String> {
    // Without the platform, cargo would fetch what only other systems need.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--filter-platform", &platform])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot run cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|e| e.to_string())?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    packages.iter().map(|package| read(package).ok_or("unexpected cargo metadata".into())).collect()
}

fn read(package: &Value) -> Option<Package> {
    let dependencies = package["dependencies"].as_array()?.iter();
    Some(Package {
        name: package["name"].as_str()?.to_owned(),
        license: package["license"].as_str().map(str::to_owned),
        local: package["source"].is_null(),
        dependencies: dependencies
            .filter(|dependency| dependency["kind"] != "dev")
            .filter_map(|dependency| dependency["name"].as_str().map(str::to_owned))
            .collect(),
    })
}
