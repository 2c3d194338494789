@0xd6a2c95e1f3b7084;

# What a scheduler notes of what goes on, for the one that comes after it (scheduler/progress.h).

using Cxx = import "/capnp/c++.capnp";
using Wire = import "wire.capnp";
$Cxx.namespace("marquee::saved");

struct Cluster {
  view @0 :Wire.View;
  servers @1 :List(Text);          # that have shards in the view; empty: a place that is free
  serverOf @2 :List(UInt32);       # by shard: index into servers
  replication @3 :UInt8;
}

struct Member {
  name @0 :Text;
  server @1 :Bool;
  alive @2 :Bool;
  incarnation @3 :UInt64;
  oldestVersion @4 :UInt16;        # of the wire
  newestVersion @5 :UInt16;
  host @6 :Text;
  metricsEndpoint @7 :Text;
  endpoints @8 :List(Text);
  ended @9 :List(UInt64);          # incarnations of the name that may not come back
}

struct Trial {
  name @0 :Text;
  spec @1 :Text;
  union {
    over @2 :Outcome;              # only its tables and sessions were left
    running @3 :Run;
  }
}

struct Outcome {
  status @0 :UInt8;                # TrialStatus
  reason @1 :Text;
  result @2 :Text;                 # JSON
}

struct Run {
  number @0 :UInt64;
  state @1 :Text;                  # JSON of TrialState; chunks that are held are among the released ones
  evaluations @2 :UInt64;
  tables @3 :List(Wire.TableDefinition);
  sessions @4 :List(Session);
  ranks @5 :List(RankClock);
  slowest @6 :UInt64;
}

struct Session {
  number @0 :UInt64;
  worker @1 :Text;
  incarnation @2 :UInt64;          # of the worker
  rank @3 :UInt32;
  lost @4 :Bool;
  trained @5 :Bool;
  clock @6 :UInt64;
  examples @7 :UInt64;
  lossSum @8 :Float64;
  held @9 :List(UInt64);           # chunks
  given @10 :UInt64;               # chunks so far
  lastChunk @11 :UInt64;           # the last one of them, and where it began
  lastNext @12 :UInt64;
}

struct RankClock {
  present @0 :Bool;
  idle @1 :Bool;
  base @2 :UInt64;
  clock @3 :UInt64;
  pulled @4 :UInt64;
}
