#ifndef MARQUEE_COMMON_METRIC_CATALOGUE_H_
#define MARQUEE_COMMON_METRIC_CATALOGUE_H_

// Every metric that any process of marquee serves: the one place where names, units, labels and meanings are written.
// docs/metrics.md is made from it (`marquee metrics`). Counters and histograms of the same name mean the same in each program.
//
// No label has a value per id, row or request. A label of tables or trials is removed with them (Metrics::Remove).

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace marquee {

enum class MetricType { kCounter, kGauge, kHistogram };

enum Program : uint8_t { kScheduler = 1, kServer = 2, kWorker = 4, kServe = 8 };
inline constexpr uint8_t kClusterPrograms = kScheduler | kServer | kWorker;
inline constexpr uint8_t kEveryProgram = kClusterPrograms | kServe;

// Upper bounds of a histogram's buckets.
enum class Buckets {
  kNone,
  kMessageSeconds,  // 10 us to 10 s: handling one message
  kStepSeconds,     // 1 ms to 60 s: a phase of a training step
  kSteps,           // 0 to 1024
};

struct MetricLabel {
  std::string_view name;
  std::string_view values;  // "pull|push" if there are only these: served from the start, with zeros
  std::string_view help;    // otherwise what it is

  std::vector<std::string> known_values() const;  // {"pull", "push"}
};

struct MetricInfo {
  std::string_view name;
  std::string_view unit;
  uint8_t programs;
  std::string_view help;
  std::array<MetricLabel, 2> labels;  // unused ones have no name
  Buckets buckets;
  MetricType type;
};

// Types of their own, so that a counter cannot be taken for a gauge.
template <MetricType kType>
struct TypedMetricInfo : MetricInfo {
  constexpr TypedMetricInfo(std::string_view its_name, std::string_view its_unit, uint8_t served_by, std::string_view meaning,
                            MetricLabel first = {}, MetricLabel second = {})
      : MetricInfo{its_name, its_unit, served_by, meaning, {first, second}, Buckets::kNone, kType} {}
  constexpr TypedMetricInfo(std::string_view its_name, std::string_view its_unit, uint8_t served_by, std::string_view meaning,
                            Buckets its_buckets, MetricLabel first = {}, MetricLabel second = {})
      : MetricInfo{its_name, its_unit, served_by, meaning, {first, second}, its_buckets, kType} {}
};
using CounterInfo = TypedMetricInfo<MetricType::kCounter>;
using GaugeInfo = TypedMetricInfo<MetricType::kGauge>;
using HistogramInfo = TypedMetricInfo<MetricType::kHistogram>;

namespace metric {

inline constexpr MetricLabel kOperation = {"operation", "", "the request's name on the wire: pull, push, heartbeat, ..."};
inline constexpr MetricLabel kPullOrPush = {"operation", "pull|push", ""};
inline constexpr MetricLabel kDirection = {"direction", "in|out", ""};
inline constexpr MetricLabel kReason = {
    "reason",
    "internal|malformed|wrongVersion|tooLarge|wrongType|unknownTable|wrongDimension|notFinite|staleView|viewAhead|"
    "unknownSession|"
    "outsideWindow|memoryFull|conflict|notYet|dataMismatch|unknownIncarnation|cancelled|forbidden|storage|damaged|"  // the
                                                                                                                     // wire's
    "unauthorized|plaintext|handshake",
    ""};
inline constexpr MetricLabel kShard = {"shard", "", "index of the shard in its server, from 0"};
inline constexpr MetricLabel kTable = {"table", "", "the table's name, for example t7/users"};
inline constexpr MetricLabel kTrial = {"trial", "", "the trial's name"};
inline constexpr MetricLabel kRole = {"role", "server|worker", ""};

// Every program: messages, and what the process itself uses.
inline constexpr GaugeInfo kBuildInfo{"marquee_build_info",
                                      "",
                                      kEveryProgram,
                                      "Always 1; the labels say what runs.",
                                      {"program", "", "scheduler, server, worker or serve"},
                                      {"version", "", "of marquee"}};
inline constexpr CounterInfo kMessages{"marquee_messages_total", "messages", kClusterPrograms,
                                       "Messages received and handed to ZeroMQ for sending.", kDirection};
inline constexpr CounterInfo kBytes{"marquee_bytes_total", "bytes", kClusterPrograms, "Bytes of these messages.", kDirection};
inline constexpr CounterInfo kMessagesDropped{"marquee_messages_dropped_total", "messages", kClusterPrograms,
                                              "Messages not sent, because their receiver was gone or its queue full."};
inline constexpr GaugeInfo kQueueBytes{"marquee_queue_bytes", "bytes", kClusterPrograms,
                                       "Bytes handed to ZeroMQ and not yet on the network, over all peers."};
inline constexpr CounterInfo kRejected{"marquee_rejected_total", "messages", kClusterPrograms,
                                       "Messages refused, by reason; each one changed nothing.", kReason};
inline constexpr CounterInfo kRequests{"marquee_requests_total", "requests", kScheduler | kServer,
                                       "Requests taken, refused ones included.", kOperation};
inline constexpr HistogramInfo kRequestDuration{"marquee_request_duration_seconds",
                                                "seconds",
                                                kScheduler | kServer,
                                                "Time from taking a request to having handed over its answer.",
                                                Buckets::kMessageSeconds,
                                                kOperation};
inline constexpr GaugeInfo kMemoryLimit{
    "marquee_memory_limit_bytes", "bytes", kEveryProgram,
    "Memory that the process may use: the machine's, or its control group's if that is less."};
inline constexpr GaugeInfo kView{"marquee_view_number", "", kClusterPrograms, "Number of the newest view known; 0: none yet."};

// Server.
inline constexpr CounterInfo kRows{"marquee_rows_total", "rows", kServer, "Rows pulled from and pushed to this server.",
                                   kPullOrPush};
inline constexpr CounterInfo kRowsCreated{"marquee_rows_created_total", "rows", kServer,
                                          "Rows that a first push or a kept model made."};
inline constexpr CounterInfo kDuplicates{"marquee_duplicates_dropped_total", "pushes", kServer,
                                         "Pushes acknowledged again without being applied again."};
inline constexpr GaugeInfo kTableRows{"marquee_table_rows", "rows", kServer, "Rows of a table in a shard.", kShard, kTable};
inline constexpr GaugeInfo kTableBytes{
    "marquee_table_bytes", "bytes", kServer, "Memory of a table in a shard: rows, optimizer state and index.", kShard, kTable};
inline constexpr GaugeInfo kTableBudget{"marquee_table_budget_bytes",
                                        "bytes",
                                        kServer,
                                        "Memory that a table may have in a shard; only of tables with `table_memory_mib`.",
                                        kShard,
                                        kTable};
inline constexpr GaugeInfo kOpenSessions{"marquee_open_sessions", "sessions", kServer,
                                         "Sessions from which a shard takes pushes.", kShard};
inline constexpr CounterInfo kForwardsTaken{"marquee_forwards_taken_total", "messages", kServer,
                                            "Messages of other servers' streams that this one follows as the second copy."};
inline constexpr GaugeInfo kForwardBytes{"marquee_forward_unanswered_bytes", "bytes", kServer,
                                         "Sent to second copies of a shard's partitions, and not yet answered.", kShard};
inline constexpr GaugeInfo kWaitingReplies{"marquee_waiting_replies", "pushes", kServer,
                                           "Pushes applied by a shard, whose acknowledgement waits for the second copy.",
                                           kShard};
inline constexpr GaugeInfo kCheckpointKeptBytes{"marquee_checkpoint_kept_bytes", "bytes", kServer,
                                                "Rows kept as they were at a cut, changed since and not yet written.", kShard};

// Worker.
inline constexpr CounterInfo kClientRows{"marquee_client_rows_total", "rows", kWorker, "Rows pulled and pushed by this worker.",
                                         kPullOrPush};
inline constexpr CounterInfo kClientRequests{"marquee_client_requests_total", "requests", kWorker,
                                             "Pulls and pushes begun by this worker, each over all shards that it touches.",
                                             kPullOrPush};
inline constexpr CounterInfo kClientResent{"marquee_client_resent_total", "messages", kWorker,
                                           "Messages to shards sent again, because no answer came."};
inline constexpr CounterInfo kClientDuplicates{"marquee_client_duplicates_acknowledged_total", "pushes", kWorker,
                                               "Acknowledgements that said: applied before."};
inline constexpr CounterInfo kClientErrors{"marquee_client_errors_total", "messages", kWorker, "Error answers from shards."};
inline constexpr GaugeInfo kUnacknowledgedPushes{"marquee_unacknowledged_pushes", "pushes", kWorker,
                                                 "Pushes sent and not yet acknowledged."};
inline constexpr CounterInfo kSteps{"marquee_steps_total", "steps", kWorker, "Training steps finished and acknowledged."};
inline constexpr CounterInfo kExamples{"marquee_examples_total", "examples", kWorker,
                                       "Training examples of these steps, repeated ones included."};
inline constexpr CounterInfo kEvaluatedExamples{"marquee_evaluated_examples_total", "examples", kWorker,
                                                "Validation and test examples scored."};
inline constexpr GaugeInfo kLoss{"marquee_loss", "", kWorker, "Mean loss per example of the newest step.", kTrial};
inline constexpr HistogramInfo kStepSeconds{
    "marquee_step_seconds",
    "seconds",
    kWorker,
    "Time of a training step by phase: waiting for rows, for other workers, computing, waiting for room to push.",
    Buckets::kStepSeconds,
    {"phase", "pull|wait|compute|push", ""}};
inline constexpr CounterInfo kNotFinite{
    "marquee_not_finite_total", "steps", kWorker,
    "Steps and evaluations given up for a NaN or an infinity in loss, gradients or scores. Each fails its trial."};
inline constexpr GaugeInfo kWorkerClock{"marquee_worker_clock", "steps", kWorker,
                                        "Steps of the session that are finished and acknowledged.", kTrial};
inline constexpr HistogramInfo kStaleness{"marquee_staleness_steps", "steps", kWorker,
                                          "How far a step was ahead of the slowest clock known when its rows were pulled.",
                                          Buckets::kSteps};
inline constexpr CounterInfo kStalenessViolations{"marquee_staleness_violations_total", "steps", kWorker,
                                                  "Steps begun further ahead than the trial's bound allows. Must read 0."};
inline constexpr GaugeInfo kSchedulerSilence{"marquee_scheduler_silence_seconds", "seconds", kWorker | kServer,
                                             "Time since the scheduler last answered."};

// Scheduler.
inline constexpr GaugeInfo kMembers{"marquee_members", "processes", kScheduler, "Members that are alive.", kRole};
inline constexpr CounterInfo kMembersLost{"marquee_members_lost_total", "processes", kScheduler,
                                          "Members taken for dead: silent for longer than the lease, or seen to end.", kRole};
inline constexpr GaugeInfo kWireVersion{
    "marquee_wire_version", "", kScheduler,
    "Highest version of the wire that all members speak. Below what the scheduler speaks: an upgrade is under way."};
inline constexpr GaugeInfo kServersWanted{"marquee_servers_wanted", "processes", kScheduler,
                                          "Servers that the cluster file names, by its last edit that is followed."};
inline constexpr GaugeInfo kServersLeaving{
    "marquee_servers_leaving", "processes", kScheduler,
    "Servers that were taken out of the cluster file and have not gone: something is left on them, or they are ending."};
inline constexpr GaugeInfo kPartitionsLeaving{"marquee_partitions_leaving", "partitions", kScheduler,
                                              "Partitions with a copy on a server that is leaving: these are yet to be moved."};
inline constexpr CounterInfo kEditsRefused{"marquee_cluster_edits_refused_total", "edits", kScheduler,
                                           "Edits of the cluster file that cannot be followed; the log says why."};
inline constexpr GaugeInfo kSinglePartitions{
    "marquee_under_replicated_partitions", "partitions", kScheduler,
    "With `replication: 2`: partitions without a whole second copy; the loss of one more server may lose their rows."};
inline constexpr CounterInfo kPromotions{"marquee_partitions_promoted_total", "partitions", kScheduler,
                                         "Second copies that took over from a lost server."};
inline constexpr CounterInfo kMoves{"marquee_partitions_moved_total",
                                    "partitions",
                                    kScheduler,
                                    "Copies of partitions that are on another shard now by plan, not by a loss.",
                                    {"copy", "primary|second", ""}};
inline constexpr CounterInfo kCheckpoints{"marquee_checkpoints_total", "checkpoints", kScheduler,
                                          "Checkpoints written to their end."};
inline constexpr CounterInfo kCheckpointsFailed{"marquee_checkpoints_failed_total", "checkpoints", kScheduler,
                                                "Checkpoints given up: no space, a lost server, workers that did not pause."};
inline constexpr GaugeInfo kCheckpointPause{"marquee_checkpoint_pause_seconds", "seconds", kScheduler,
                                            "How long the last attempt at a checkpoint kept workers from new work."};
inline constexpr GaugeInfo kCheckpointBytes{"marquee_checkpoint_bytes", "bytes", kScheduler, "Size of the last checkpoint."};
inline constexpr GaugeInfo kCheckpointNumber{"marquee_checkpoint_number", "", kScheduler,
                                             "Number of the last checkpoint; 0: none yet."};
inline constexpr GaugeInfo kCheckpointAge{
    "marquee_checkpoint_age_seconds", "seconds", kScheduler,
    "How much training a checkpoint does not hold: time since the last one, or since training began; 0: nothing to hold."};
inline constexpr GaugeInfo kCheckpointInterval{"marquee_checkpoint_interval_seconds", "seconds", kScheduler,
                                               "Time between checkpoints, as configured; 0: on request only, or none."};
inline constexpr CounterInfo kTrialsRestored{"marquee_trials_restored_total", "trials", kScheduler,
                                             "Trials that went on from a checkpoint."};
inline constexpr CounterInfo kTrialsTakenOver{"marquee_trials_taken_over_total", "trials", kScheduler,
                                              "Trials that ran under a scheduler before this one, and run on."};
inline constexpr CounterInfo kHeartbeats{"marquee_heartbeats_total", "messages", kScheduler, "Heartbeats answered."};
inline constexpr GaugeInfo kTrials{"marquee_trials",
                                   "trials",
                                   kScheduler,
                                   "Trials of the sweep by status.",
                                   {"status", "pending|running|finished|stopped|failed", ""}};
inline constexpr CounterInfo kSessionsOpened{"marquee_sessions_opened_total", "sessions", kScheduler,
                                             "Sessions given to workers."};
inline constexpr CounterInfo kSessionsClosed{"marquee_sessions_closed_total", "sessions", kScheduler,
                                             "Sessions closed on all shards."};
inline constexpr CounterInfo kChunksLeased{"marquee_chunks_leased_total", "chunks", kScheduler,
                                           "Chunks of training examples leased to workers."};
inline constexpr CounterInfo kChunksReleased{"marquee_chunks_released_total", "chunks", kScheduler,
                                             "Chunks taken back from workers that died."};
inline constexpr CounterInfo kTicks{"marquee_ticks_total", "messages", kScheduler, "Reports of progress from workers."};
inline constexpr CounterInfo kTrainedExamples{"marquee_trained_examples_total", "examples", kScheduler,
                                              "Training examples acknowledged, over all trials."};
inline constexpr CounterInfo kRepeatedExamples{"marquee_repeated_examples_total", "examples", kScheduler,
                                               "Examples trained again after a worker's death; an upper bound."};
inline constexpr GaugeInfo kSlowestClock{"marquee_slowest_clock", "steps", kScheduler | kWorker,
                                         "Clock of the slowest worker of a running trial.", kTrial};
inline constexpr GaugeInfo kFastestClock{"marquee_fastest_clock", "steps", kScheduler,
                                         "Clock of the fastest worker of a running trial.", kTrial};
inline constexpr GaugeInfo kTrialLoss{"marquee_trial_loss", "", kScheduler,
                                      "Mean loss per example of a running trial's epoch so far.", kTrial};
inline constexpr GaugeInfo kTrialValidation{"marquee_trial_validation",
                                            "",
                                            kScheduler,
                                            "A running trial's newest validation, by the metric by which trials are compared.",
                                            kTrial,
                                            {"metric", "", "its name in a result, for example rmse"}};
inline constexpr GaugeInfo kTrialEpoch{"marquee_trial_epoch", "epochs", kScheduler,
                                       "Epochs of a running trial that are trained, with the part of the present one.", kTrial};
inline constexpr GaugeInfo kTrialRate{"marquee_trial_examples_per_second", "examples per second", kScheduler,
                                      "Training speed of a running trial.", kTrial};

// `marquee serve`.
inline constexpr MetricLabel kQuestion = {"question", "user|guest|search|users|model|page", ""};
inline constexpr CounterInfo kAnswers{"marquee_answers_total",
                                      "answers",
                                      kServe,
                                      "Answers of `marquee serve`, refusals included.",
                                      kQuestion,
                                      {"status", "", "the HTTP status: 200, 404, ..."}};
inline constexpr HistogramInfo kAnswerSeconds{
    "marquee_answer_seconds", "seconds", kServe, "Time from having read a question to having its answer.",
    Buckets::kMessageSeconds, kQuestion};
inline constexpr GaugeInfo kQuestionsInHand{"marquee_questions_in_hand", "questions", kServe,
                                            "Recommendations that are being made; over a bound more are refused (503)."};

// What Prometheus clients of all languages say of their process, under its usual names.
inline constexpr CounterInfo kProcessCpu{"process_cpu_seconds_total", "seconds", kEveryProgram,
                                         "User and system time of the process."};
inline constexpr GaugeInfo kProcessResident{"process_resident_memory_bytes", "bytes", kEveryProgram, "Memory in use."};
inline constexpr GaugeInfo kProcessVirtual{"process_virtual_memory_bytes", "bytes", kEveryProgram, "Address space in use."};
inline constexpr GaugeInfo kProcessFiles{"process_open_fds", "files", kEveryProgram, "Open file descriptors."};
inline constexpr GaugeInfo kProcessStart{"process_start_time_seconds", "seconds", kEveryProgram,
                                         "When the process started, in Unix time."};

}  // namespace metric

// All of the above, in the order of docs/metrics.md.
const std::vector<const MetricInfo*>& MetricCatalogue();

// The text of docs/metrics.md.
std::string MetricsPage();

}  // namespace marquee

#endif  // MARQUEE_COMMON_METRIC_CATALOGUE_H_
