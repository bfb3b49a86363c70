// The shards: load, room, memory.

import { get } from "./api.js";
import { bits, bytes, chip, count, h, meter, percent, show, tile } from "./page.js";

export function shards(view) {
  const body = h("div", {});
  view.append(h("div", { class: "bar" }, h("h1", {}, "Shards")), body);
  const look = async () => {
    const { room, shards, missing } = await get("/api/v1/shards");
    const sum = (of) => shards.reduce((all, shard) => all + of(shard), 0);
    const used = (of) => sum((shard) => shard.pools.reduce((all, pool) => all + pool.page_bytes * pool[of], 0));
    show(body,
      h("div", { class: "tiles" },
        tile("Players", count(sum((s) => s.players))),
        tile("Viewers", count(sum((s) => s.viewers)), "of HLS"),
        tile("Publishers", count(sum((s) => s.publishers))),
        tile("Out", bits(8 * sum((s) => s.bytes_sent_per_second))),
        tile("In", bits(8 * sum((s) => s.bytes_received_per_second))),
        tile("Room", room ? count(room.players) : "?", room ? `players, by ${room.limited_by}` : ""),
        tile("Media memory", bytes(used("used")), `of ${bytes(used("total"))}`)),
      missing.length ? h("p", { class: "wrong" }, `No answer of shard ${missing.join(", ")}.`) : null,
      h("div", { class: "cards" }, shards.map(card)));
  };
  return { look };
}

function card(shard) {
  const { loop_lag_ms: lag } = shard;
  const kinds = Object.entries(shard.players_by_protocol).filter(([, players]) => players > 0);
  const fact = (name, value) => [h("dt", {}, name), h("dd", {}, value)];
  return h("section", { class: "card" },
    h("div", { class: "bar" }, h("h1", {}, `Shard ${shard.id}`), chip(shard.state)),
    h("span", { class: "dim" }, `Core ${shard.core ?? "of any"}: ${percent(shard.utilisation)} of its time`),
    meter(shard.utilisation, "Utilisation"),
    h("dl", { class: "facts" },
      fact("Streams", count(shard.streams)),
      fact("Publishers", count(shard.publishers)),
      fact("Players", count(shard.players)),
      kinds.flatMap(([name, players]) => fact(name, count(players))),
      fact("Viewers of HLS", count(shard.viewers)),
      fact("Connections", count(shard.connections)),
      fact("Out", bits(8 * shard.bytes_sent_per_second)),
      fact("In", bits(8 * shard.bytes_received_per_second)),
      fact("Loop lag p99", `${lag.p99.toFixed(1)} ms`),
      fact("Flush interval", `${shard.flush_interval_ms.toFixed(0)} ms`),
      fact("Room", `${count(shard.room.players)} players, by ${shard.room.limited_by}`)));
}
