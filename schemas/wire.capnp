@0xb3c1f0a2d47e9516;

# The messages of marquee. One Envelope per ZeroMQ multipart message, one frame per Cap'n Proto segment.
#
# Rules that every reader relies on (docs/architecture.md, "Wire"):
# - Bulk arrays are Data of packed little-endian values: ids are UInt64, rows and gradients Float32.
# - A payload states its own shape; a receiver checks it and never infers it from its own state.
# - A request ends with a reply that repeats its requestId: the body named beside it below, or `error`.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("marquee::wire");

# Versions. A program speaks all versions from the oldest to the newest one below; a message names both, and is refused only by who has
# none in common with its sender. Both sides then keep to the highest common version: what came with a later one is not sent.
# What every change must keep to:
# - A new field, body or enumerant that an older reader may pass over, or be spared, needs no new version: its absence says "not known".
# - What a peer must understand (a new request, a field that changes what others mean) gets a new version, and is sent only to who
#   speaks it (Message::version, Membership::wire_version).
# - What older programs can no longer be answered without (an optimizer's arithmetic, since copies are equal bit for bit; the hash of
#   rows to partitions; initial values) raises the oldest version as well.
# - The fields of Envelope and of Error never change: so every version can tell another that it is refused.
const oldestProtocolVersion :UInt16 = 2;
const protocolVersion :UInt16 = 3;  # 3: the sender's range; yield, getPartitions, Forward.made

struct Envelope {
  protocolVersion @0 :UInt16;  # the oldest that the sender speaks: programs of version 2 take no other than their own
  view @1 :UInt64;           # the newest view that the sender knows; 0 = none yet
  sender @2 :Text;           # name of the sending process, for logs
  incarnation @3 :UInt64;    # of the sending process; never 0
  requestId @4 :UInt64;      # chosen by the requester, repeated by the reply; 0 = unsolicited
  timeoutMicros @5 :UInt64;  # time left when it was sent; 0 = no deadline. Relative: clocks of machines differ

  body :union {
    error @6 :Error;
    ok @7 :Void;

    # to a shard                                     # answered by
    pull @8 :Pull;                                   # rows
    rows @9 :Rows;
    push @10 :Push;                                  # pushed
    pushed @11 :Pushed;
    installView @12 :View;                           # ok
    openSession @13 :OpenSession;                    # ok
    closeSession @14 :CloseSession;                  # ok
    createTables @15 :CreateTables;                  # ok
    dropTables @16 :DropTables;                      # ok
    describeTables @17 :Void;                        # tables
    tables @18 :Tables;
    getStatistics @19 :Void;                         # statistics
    statistics @20 :Statistics;

    # to the scheduler
    register @21 :Register;                          # registered
    registered @22 :Registered;
    heartbeat @23 :Heartbeat;                        # heartbeatReply
    heartbeatReply @24 :HeartbeatReply;
    getView @25 :Void;                               # view
    view @26 :View;
    getAssignment @27 :Void;                         # assignment
    assignment @28 :Assignment;
    defineTables @29 :DefineTables;                  # tables, once every shard has them; error `notYet` before
    getWork @30 :GetWork;                            # work
    work @31 :Work;
    tick @32 :Tick;                                  # clocks
    clocks @33 :Clocks;                              # also sent unsolicited, when the slowest clock moves
    evaluated @34 :Evaluated;                        # ok
    trialFailed @35 :TrialFailed;                    # ok

    # to a shard, of whole tables
    scanTable @36 :ScanTable;                        # scannedRows
    scannedRows @37 :ScannedRows;
    loadRows @38 :LoadRows;                          # ok

    # from shard to shard
    forward @39 :Forward;                            # forwarded
    forwarded @40 :Forwarded;

    # to a shard
    getFills @41 :Void;                              # fills
    fills @42 :Fills;
    retain @43 :Retain;                              # ok

    # to a shard, of checkpoints
    cutCheckpoint @44 :CutCheckpoint;                # ok, once the cut is made: what follows is not in it
    getCheckpoint @45 :UInt64;                       # checkpointFile, once it is written
    checkpointFile @46 :CheckpointFile;
    restoreRows @47 :RestoreRows;                    # ok, once they are all there

    # to a shard, of moves
    yield @48 :Yield;                                # ok, once all copies have what this shard has done to these partitions
    getPartitions @49 :Void;                         # partitions
    partitions @50 :Partitions;
  }

  newestVersion @51 :UInt16;   # that the sender speaks; 0: protocolVersion is the only one
}

struct Error {
  enum Code {
    internal @0;          # a bug of ours
    malformed @1;         # not a message of this protocol, or one with a wrong shape
    wrongVersion @2;      # of the protocol
    tooLarge @3;
    wrongType @4;         # a body that this receiver does not take
    unknownTable @5;
    wrongDimension @6;
    notFinite @7;         # a NaN or infinite gradient or learning rate
    staleView @8;         # the sender's view is older than the last change of a partition: get the view, split again
    viewAhead @9;         # the sender's view is newer than the shard's: try again
    unknownSession @10;   # not open: closed, or never opened
    outsideWindow @11;    # a push 64 or more behind the highest of its session
    memoryFull @12;       # the table's memory budget is used up
    conflict @13;         # contradicts what is there: a table of that number with another definition
    notYet @14;           # try again later
    dataMismatch @15;     # the worker's data file is not the scheduler's
    unknownIncarnation @16; # register first
    cancelled @17;        # the trial is over
    forbidden @18;        # the sender's key is not of a role that may ask this
    storage @19;          # a file could not be written or read: no space, no permission, no such file
    damaged @20;          # a file is not what was written, or not of this cluster
  }
  code @0 :Code;
  field @1 :Text;         # what was wrong, for example "push.sections[0].gradients"
  message @2 :Text;       # what it was and what would be right
}

# ---------------------------------------------------------------------------------------------------------- rows

struct Pull {
  sections @0 :List(PullSection);
}

struct PullSection {
  table @0 :UInt32;
  dim @1 :UInt32;
  count @2 :UInt32;
  ids @3 :Data;           # count x UInt64, each at most once
}

struct Rows {
  sections @0 :List(RowSection);   # one for each section of the pull, in its order
}

struct RowSection {
  table @0 :UInt32;
  dim @1 :UInt32;
  count @2 :UInt32;
  type @3 :ElementType;
  values @4 :Data;        # count x dim, in the order of the ids
}

enum ElementType {
  float32 @0;
}

struct Push {
  session @0 :UInt64;
  sequence @1 :UInt64;    # 1, 2, 3 ... per session
  sections @2 :List(PushSection);
}

struct PushSection {
  table @0 :UInt32;
  dim @1 :UInt32;
  count @2 :UInt32;
  type @3 :ElementType;
  learningRate @4 :Float32;
  ids @5 :Data;           # count x UInt64, each at most once in a table and push
  gradients @6 :Data;     # count x dim
}

struct Pushed {
  sequence @0 :UInt64;
  duplicate @1 :Bool;     # true: every partition of it had applied it before
}

# --------------------------------------------------------------------------------------------- views and sessions

struct View {
  number @0 :UInt64;
  clusterId @1 :UInt64;
  shards @2 :List(Text);            # endpoint of each shard, by its index
  primaries @3 :List(UInt32);       # shard index of each partition; the length is the number of partitions
  changed @4 :List(UInt64);         # view in which each partition last changed its primary
  you @5 :UInt32;                   # in installView: the index of the shard that is addressed
  backups @6 :List(UInt32);         # shard index of each partition's second copy; 0xffffffff: none
  fills @7 :List(UInt32);           # of the shard that is being filled to become it; likewise
  fresh @8 :List(UInt64);           # view in which each partition last began empty
  processes @9 :List(UInt64);       # incarnation of each shard's server
}

# ------------------------------------------------------------------------------------------------------- replication

# What a primary has done, for a copy of its partitions to do as well: entries of one numbered stream from shard to shard. Both
# must have the same view, or it is refused (viewAhead, staleView).
struct Forward {
  shard @0 :UInt32;                 # index of the sender
  number @1 :UInt64;                # 1, 2, 3 ...; of `nothing`, the number that comes next
  union {
    nothing @2 :Void;               # only renews the lease
    push @3 :ForwardedPush;
    load @4 :LoadRows;
    rows @5 :FilledRows;
    windows @6 :FilledWindows;
  }
  stream @7 :UInt64;                # view in which the stream began; a later one begins anew with number 1
  made @8 :UInt64;                  # view in which the sender made the entry: it is nothing to partitions that changed their
                                    # primary since
}

struct ForwardedPush {
  push @0 :Push;
  partitions @1 :List(UInt32);      # those that have applied it now; the others of its ids had done so before
}

# Rows that a copy in the making does not have yet, with their optimizer state.
struct FilledRows {
  partition @0 :UInt32;
  table @1 :UInt32;
  dim @2 :UInt32;
  stateWidth @3 :UInt32;
  count @4 :UInt32;
  ids @5 :Data;                     # count x UInt64
  rows @6 :Data;                    # count x (dim + stateWidth) Float32: weights, then state
}

# The last entry of a partition's filling: from here on the copy is whole.
struct FilledWindows {
  partition @0 :UInt32;
  sessions @1 :List(SessionWindow);
}

struct SessionWindow {
  session @0 :UInt64;
  highest @1 :UInt64;
  applied @2 :UInt64;               # bit i: whether highest - i was applied
}

struct Forwarded {
  next @0 :UInt64;                  # the number that this shard waits for: all before it are applied
}

# What goes on, told to a shard that joins: tables and sessions of lower numbers than `tablesBelow` and `sessionsBelow` have ended
# but for these. Refused unless it is of the shard's own view.
struct Retain {
  tablesBelow @0 :UInt32;
  tables @1 :List(UInt32);
  sessionsBelow @2 :UInt64;
  sessions @3 :List(UInt64);
}

# Serve these partitions no more, as their primary by this view, so that another copy can take over what is equal. A newer view
# puts an end to it. Refused unless it is of the shard's own view.
struct Yield {
  partitions @0 :List(UInt32);
}

struct Fills {
  view @0 :UInt64;
  filled @1 :List(UInt32);          # partitions whose copy, by that view, is whole
  silent @2 :List(UInt32);          # shards with a copy that have not answered for too long
}

struct OpenSession {
  session @0 :UInt64;
  trial @1 :UInt64;
}

struct CloseSession {
  session @0 :UInt64;
}

# --------------------------------------------------------------------------------------------------------- tables

struct TableDefinition {
  number @0 :UInt32;       # given by the scheduler, never used again; 0 in a proposal
  name @1 :Text;           # "t7/users"
  trial @2 :UInt64;
  dim @3 :UInt32;
  seed @4 :UInt64;         # of the initial values, together with the name without the trial's prefix
  initializer @5 :Initializer;
  optimizer @6 :Optimizer;
  memoryBudgetBytes @7 :UInt64;   # per shard; 0 = none
}

struct Initializer {
  enum Kind { zeros @0; constant @1; uniform @2; normal @3; }
  kind @0 :Kind;
  scale @1 :Float32;       # the constant; half width of uniform(-scale, scale); standard deviation
}

struct Optimizer {
  enum Kind { sgd @0; momentum @1; adagrad @2; rowwiseAdagrad @3; adam @4; ftrl @5; }
  kind @0 :Kind;
  momentum @1 :Float32;
  beta1 @2 :Float32;
  beta2 @3 :Float32;
  epsilon @4 :Float32;
  initialAccumulator @5 :Float32;
  ftrlL1 @6 :Float32;
  ftrlL2 @7 :Float32;
  ftrlBeta @8 :Float32;
  l2 @9 :Float32;          # adds l2 x weight to the gradient of each pushed row
  clipNorm @10 :Float32;   # of a row's gradient; 0 = off
  maxNorm @11 :Float32;    # of a row after its update; 0 = off
}

struct CreateTables {
  definitions @0 :List(TableDefinition);
}

struct DropTables {
  tables @0 :List(UInt32);
}

struct Tables {
  definitions @0 :List(TableDefinition);
}

# A walk over the rows of a table that a shard holds, in the order of partition and slot. Slots are numbered as rows are inserted,
# and rows never move: a row that is there when a walk begins is met exactly once, a new one lies ahead of the walk in its
# partition. Nothing is kept between two requests: each says where to go on.
struct ScanTable {
  table @0 :UInt32;
  partition @1 :UInt32;    # where to begin
  slot @2 :UInt64;
  end @3 :UInt32;          # the walk ends before this partition
  limit @4 :UInt32;        # rows at most, 1 or more; the shard may bring fewer
}

struct ScannedRows {
  table @0 :UInt32;
  dim @1 :UInt32;
  count @2 :UInt32;
  type @3 :ElementType;
  ids @4 :Data;            # count x UInt64
  weights @5 :Data;        # count x dim
  partition @6 :UInt32;    # where to go on; `end` of the request when there are no more
  slot @7 :UInt64;
}

# Rows that begin with these weights and fresh optimizer state. One that is there already is left as it is, so that a late copy
# of the request changes nothing that was trained since.
struct LoadRows {
  table @0 :UInt32;
  dim @1 :UInt32;
  count @2 :UInt32;
  type @3 :ElementType;
  ids @4 :Data;            # count x UInt64, each at most once, of partitions that the shard owns
  weights @5 :Data;        # count x dim
}

struct Statistics {
  tables @0 :List(TableStatistics);
  hottest @1 :List(PartitionStatistics);   # by rows pulled and pushed, hottest first, at most 8
}

struct TableStatistics {
  table @0 :UInt32;
  rows @1 :UInt64;
  bytes @2 :UInt64;
}

struct PartitionStatistics {
  partition @0 :UInt32;
  rowsPulled @1 :UInt64;           # since it came to the shard
  rowsPushed @2 :UInt64;
  bytes @3 :UInt64;                # of its rows; in `partitions` only
}

# Those whose primary the shard is.
struct Partitions {
  partitions @0 :List(PartitionStatistics);
}

# ---------------------------------------------------------------------------------------------------- membership

struct Register {
  enum Role { server @0; worker @1; }
  role @0 :Role;
  name @1 :Text;
  host @2 :Text;
  processId @3 :UInt32;
  endpoints @4 :List(Text);        # a server's shards
  metricsEndpoint @5 :Text;        # "127.0.0.1:9100"
  dataChecksum @6 :UInt64;         # a worker's data file; 0 for servers
}

struct Registered {
  clusterId @0 :UInt64;
  heartbeatMicros @1 :UInt64;      # send a heartbeat this often
  leaseMicros @2 :UInt64;          # a member that is silent for longer is dead
}

struct Heartbeat {
  server @0 :ServerStatistics;     # of servers
}

struct ServerStatistics {
  rows @0 :UInt64;                 # now, in all tables
  bytes @1 :UInt64;
  pulls @2 :UInt64;                # these and the following: since the process started
  pushes @3 :UInt64;
  rowsPulled @4 :UInt64;
  rowsPushed @5 :UInt64;
  duplicates @6 :UInt64;
  rejected @7 :UInt64;
}

struct HeartbeatReply {
  view @0 :UInt64;
}

# ---------------------------------------------------------------------------------------------------------- checkpoints

# Write the rows of these tables as they are now, in all partitions whose primary the shard is, into a file of that folder. The
# file is written while the shard goes on serving. A later cut replaces one that is not written yet.
struct CutCheckpoint {
  number @0 :UInt64;
  folder @1 :Text;
  clusterId @2 :UInt64;
  base @3 :UInt64;                 # the checkpoint before: rows that were not changed since may be left out. 0: write all
  tables @4 :List(UInt32);
}

struct CheckpointFile {
  number @0 :UInt64;
  name @1 :Text;                   # in the folder
  bytes @2 :UInt64;
  checksum @3 :UInt64;             # XXH3 of all of it
  rows @4 :UInt64;
  full @5 :Bool;                   # false: nothing without its base
}

# Read the rows of these tables from the files, one after the other, into the tables that they are now. Rows of partitions that
# the shard has no copy of are passed over.
struct RestoreRows {
  files @0 :List(RestoredFile);
  tables @1 :List(RestoredTable);
  clusterId @2 :UInt64;
}

struct RestoredFile {
  path @0 :Text;
  checkpoint @1 :UInt64;
}

struct RestoredTable {
  from @0 :UInt32;                 # its number in the files
  to @1 :UInt32;
}

# --------------------------------------------------------------------------------------------------- a worker's work

struct Assignment {
  union {
    none @0 :UInt64;               # microseconds after which to ask again
    shutdown @1 :Void;             # the sweep is over: exit
    trial @2 :TrialAssignment;
  }
}

struct TrialAssignment {
  trial @0 :UInt64;
  name @1 :Text;
  session @2 :UInt64;
  rank @3 :UInt32;
  workers @4 :UInt32;
  spec @5 :Text;                   # YAML of common/trial_config.h, everything resolved
}

struct DefineTables {
  session @0 :UInt64;
  definitions @1 :List(TableDefinition);   # every worker of a trial proposes the same ones
}

struct GetWork {
  session @0 :UInt64;
  taken @1 :UInt64;                # how many training chunks the worker has been given in this session, plus 1; 0: it does not say
}

struct Work {
  union {
    wait @0 :UInt64;               # microseconds after which to ask again
    train @1 :Chunk;
    barrier @2 :Void;              # no training left: report a final tick, then ask again
    evaluate @3 :EvaluationChunk;
    done @4 :Void;                 # the session is over: ask for an assignment
  }
}

struct Chunk {
  number @0 :UInt64;               # within the trial
  epoch @1 :UInt32;                # from 0
  begin @2 :UInt64;                # positions in the epoch's order of training examples
  end @3 :UInt64;
  next @4 :UInt64;                 # first position still to train: `begin`, or later when a dead worker had begun
}

struct EvaluationChunk {
  enum Part { validation @0; test @1; }
  evaluation @0 :UInt64;
  part @1 :Part;
  chunk @2 :UInt32;
  begin @3 :UInt64;                # positions in the part's examples
  end @4 :UInt64;
}

struct Tick {
  session @0 :UInt64;
  clock @1 :UInt64;                # steps finished and acknowledged
  chunks @2 :List(ChunkProgress);  # the chunks that the worker holds, and those it just finished
  examples @3 :UInt64;             # trained and acknowledged in this session
  lossSum @4 :Float64;             # of these examples
  drained @5 :Bool;                # after `barrier`: nothing is unacknowledged
  pullSeconds @6 :Float64;         # totals of this session: where its time went
  computeSeconds @7 :Float64;
  pushSeconds @8 :Float64;
  pulled @9 :UInt64;               # steps whose rows have been pulled; kept in synchronous mode only
}

struct ChunkProgress {
  number @0 :UInt64;
  next @1 :UInt64;                 # first position not yet acknowledged; = end when finished
}

struct Clocks {
  trial @0 :UInt64;
  session @1 :UInt64;              # of the addressed worker
  slowest @2 :UInt64;
  clocks @3 :List(UInt64);         # by rank; 2^64-1 for a worker that has left
  allPulled @4 :UInt64;            # steps whose rows all workers have pulled; kept in synchronous mode only
}

struct Evaluated {
  session @0 :UInt64;
  evaluation @1 :UInt64;
  chunk @2 :UInt32;
  examples @3 :UInt64;
  sums @4 :List(MetricSum);        # added over the chunks, then divided by the sum of weights
}

struct MetricSum {
  name @0 :Text;                   # "top_100", "squared_error", "absolute_error", "loss", "auc"
  sum @1 :Float64;
  weight @2 :Float64;
  bins @3 :List(ScoreBin);         # of "auc": each bin once
}

struct ScoreBin {
  bin @0 :UInt32;                  # ScoreBinOf(logit) of dataset/evaluation.h
  positives @1 :UInt32;            # examples whose score lies in it
  negatives @2 :UInt32;
}

struct TrialFailed {
  session @0 :UInt64;
  reason @1 :Text;
}
