//! NUMA cells: free memory and page pools.

use crate::virsh::cmd::Cmd;
use crate::virsh::conn::call;
use crate::virsh::ctl::{Ctl, put};
use crate::virsh::fail::{Context, Outcome, fail};
use crate::virsh::util::parse_xml;

/// Ids of the cells and the page sizes in KiB, from the capabilities.
pub fn cells(ctl: &mut Ctl) -> Outcome<(Vec<i32>, Vec<u32>)> {
    let caps =
        call!(ctl, ConnectGetCapabilities).ctx("unable to get node capabilities")?.capabilities;
    let doc = parse_xml(&caps)?;
    let host = doc.root().child("host");
    let ids = host
        .and_then(|h| h.child("topology"))
        .and_then(|t| t.child("cells"))
        .into_iter()
        .flat_map(|c| c.children())
        .filter_map(|c| c.attr("id")?.parse().ok())
        .collect();
    let sizes = host
        .and_then(|h| h.child("cpu"))
        .into_iter()
        .flat_map(|c| c.children())
        .filter(|c| c.name() == "pages")
        .filter_map(|p| p.attr("size")?.parse().ok())
        .collect();
    Ok((ids, sizes))
}

/// `freecell`
pub fn cmd_freecell(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    cmd.exclusive("all", "cellno")?;
    let cellno = cmd.int("cellno")?;
    if cmd.has("all") {
        let mut total = 0;
        let mut rows = Vec::new();
        for id in cells(ctl)?.0 {
            let free = call!(ctl, NodeGetCellsFreeMemory { start_cell: id, maxcells: 1 })
                .ctx(format!("failed to get free memory for NUMA node number: {id}"))?
                .cells
                .first()
                .copied()
                .unwrap_or(0);
            rows.push((id, free / 1024));
            total += free / 1024;
        }
        for (id, free) in rows {
            ctl.member(&id.to_string(), free);
            put!(ctl, "{id:5}: {free:10} KiB\n");
        }
        ctl.member("total", total);
        put!(ctl, "--------------------\n{:<5}: {total:10} KiB\n", "Total");
        return Ok(());
    }
    if let Some(start_cell) = cellno {
        let free = call!(ctl, NodeGetCellsFreeMemory { start_cell, maxcells: 1 })?
            .cells
            .first()
            .copied()
            .unwrap_or(0);
        ctl.member(&start_cell.to_string(), free / 1024);
        put!(ctl, "{start_cell}: {} KiB\n", free / 1024);
    } else {
        let free = call!(ctl, NodeGetFreeMemory)?.free_mem;
        ctl.member("total", free / 1024);
        put!(ctl, "Total: {} KiB\n", free / 1024);
    }
    Ok(())
}

/// `freepages`
pub fn cmd_freepages(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    cmd.exclusive("all", "cellno")?;
    let get = |ctl: &mut Ctl, cell: i32, pages: &[u32]| {
        call!(
            ctl,
            NodeGetFreePages { pages: pages.to_vec(), start_cell: cell, cell_count: 1, flags: 0 }
        )
        .map(|r| r.counts)
    };
    let show = |ctl: &mut Ctl, pages: &[u32], counts: &[u64]| {
        for (p, c) in pages.iter().zip(counts) {
            put!(ctl, "{p}KiB: {c}\n");
        }
    };
    if cmd.has("all") {
        let (ids, pages) = cells(ctl)?;
        for id in ids {
            let counts = get(ctl, id, &pages)?;
            put!(ctl, "Node {id}:\n");
            show(ctl, &pages, &counts);
            put!(ctl, "\n");
        }
        return Ok(());
    }
    let Some(cell) = cmd.int("cellno")? else {
        fail!("missing cellno argument");
    };
    if cell < -1 {
        fail!("cell number must be non-negative integer or -1");
    }
    let Some(size) = cmd.scaled("pagesize", 1024, u64::from(u32::MAX) * 1024)? else {
        fail!("missing pagesize argument");
    };
    let pages = [(size / 1024) as u32];
    let counts = get(ctl, cell, &pages)?;
    show(ctl, &pages, &counts);
    Ok(())
}

/// `allocpages`
pub fn cmd_allocpages(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    cmd.exclusive("all", "cellno")?;
    let size = cmd.scaled("pagesize", 1024, u64::from(u32::MAX) * 1024)?.unwrap_or(0);
    let page_sizes = vec![(size / 1024) as u32];
    let page_counts = vec![cmd.ull("pagecount")?.unwrap_or(0)];
    let flags = u32::from(!cmd.has("add"));
    let (start_cell, cell_count) = if cmd.has("all") {
        (-1, cells(ctl)?.0.len() as u32)
    } else {
        (cmd.int("cellno")?.unwrap_or(-1), 1)
    };
    call!(ctl, NodeAllocPages { page_sizes, page_counts, start_cell, cell_count, flags })
        .map(|_| ())
}
