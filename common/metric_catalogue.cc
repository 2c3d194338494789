#include "common/metric_catalogue.h"

#include <fmt/format.h>

#include <string>

namespace marquee {
namespace {

std::string_view TypeName(MetricType type) {
  switch (type) {
    case MetricType::kCounter:
      return "counter";
    case MetricType::kGauge:
      return "gauge";
    case MetricType::kHistogram:
      return "histogram";
  }
  return "";
}

std::string ProgramNames(uint8_t programs) {
  if (programs == kEveryProgram) return "all";
  std::string names;
  for (const auto& [program, name] :
       {std::pair(kScheduler, "scheduler"), {kServer, "server"}, {kWorker, "worker"}, {kServe, "`marquee serve`"}}) {
    if ((programs & program) != 0) names += fmt::format("{}{}", names.empty() ? "" : ", ", name);
  }
  return names;
}

std::string LabelTexts(const MetricInfo& info) {
  std::string text;
  for (const MetricLabel& label : info.labels) {
    if (label.name.empty()) continue;
    text += fmt::format("{}`{}`", text.empty() ? "" : ", ", label.name);
    std::string separator = ": ";
    for (const std::string& value : label.known_values()) {
      text += fmt::format("{}{}", separator, value);
      separator = ", ";
    }
    if (label.values.empty()) text += fmt::format(": {}", label.help);
  }
  return text;
}

}  // namespace

std::vector<std::string> MetricLabel::known_values() const {
  std::vector<std::string> known;
  for (size_t begin = 0; begin < values.size();) {
    const size_t end = std::min(values.find('|', begin), values.size());
    known.emplace_back(values.substr(begin, end - begin));
    begin = end + 1;
  }
  return known;
}

const std::vector<const MetricInfo*>& MetricCatalogue() {
  using namespace metric;  // NOLINT: to list them is what this function is for
  static const auto& catalogue = *new std::vector<const MetricInfo*>{&kBuildInfo,
                                                                     &kMessages,
                                                                     &kBytes,
                                                                     &kMessagesDropped,
                                                                     &kQueueBytes,
                                                                     &kRejected,
                                                                     &kRequests,
                                                                     &kRequestDuration,
                                                                     &kMemoryLimit,
                                                                     &kView,
                                                                     &kSchedulerSilence,
                                                                     &kRows,
                                                                     &kRowsCreated,
                                                                     &kDuplicates,
                                                                     &kTableRows,
                                                                     &kTableBytes,
                                                                     &kTableBudget,
                                                                     &kOpenSessions,
                                                                     &kForwardsTaken,
                                                                     &kForwardBytes,
                                                                     &kWaitingReplies,
                                                                     &kCheckpointKeptBytes,
                                                                     &kClientRows,
                                                                     &kClientRequests,
                                                                     &kClientResent,
                                                                     &kClientDuplicates,
                                                                     &kClientErrors,
                                                                     &kUnacknowledgedPushes,
                                                                     &kSteps,
                                                                     &kExamples,
                                                                     &kEvaluatedExamples,
                                                                     &kLoss,
                                                                     &kStepSeconds,
                                                                     &kNotFinite,
                                                                     &kWorkerClock,
                                                                     &kSlowestClock,
                                                                     &kStaleness,
                                                                     &kStalenessViolations,
                                                                     &kMembers,
                                                                     &kMembersLost,
                                                                     &kSinglePartitions,
                                                                     &kWireVersion,
                                                                     &kServersWanted,
                                                                     &kServersLeaving,
                                                                     &kPartitionsLeaving,
                                                                     &kEditsRefused,
                                                                     &kPromotions,
                                                                     &kMoves,
                                                                     &kCheckpoints,
                                                                     &kCheckpointsFailed,
                                                                     &kCheckpointPause,
                                                                     &kCheckpointBytes,
                                                                     &kCheckpointNumber,
                                                                     &kCheckpointAge,
                                                                     &kCheckpointInterval,
                                                                     &kTrialsRestored,
                                                                     &kTrialsTakenOver,
                                                                     &kHeartbeats,
                                                                     &kTrials,
                                                                     &kSessionsOpened,
                                                                     &kSessionsClosed,
                                                                     &kChunksLeased,
                                                                     &kChunksReleased,
                                                                     &kTicks,
                                                                     &kTrainedExamples,
                                                                     &kRepeatedExamples,
                                                                     &kFastestClock,
                                                                     &kTrialLoss,
                                                                     &kTrialValidation,
                                                                     &kTrialEpoch,
                                                                     &kTrialRate,
                                                                     &kAnswers,
                                                                     &kAnswerSeconds,
                                                                     &kQuestionsInHand,
                                                                     &kProcessCpu,
                                                                     &kProcessResident,
                                                                     &kProcessVirtual,
                                                                     &kProcessFiles,
                                                                     &kProcessStart};
  return catalogue;
}

std::string MetricsPage() {
  std::string page =
      "# Metrics\n"
      "\n"
      "Every process serves its metrics for Prometheus at `http://HOST:PORT/metrics`; the ports are in the cluster file\n"
      "(`metrics_port`), and `marquee targets` finds free ones (docs/monitoring.md). This page is made by `marquee metrics > "
      "docs/metrics.md`.\n"
      "\n"
      "| name | type | unit | served by | labels | meaning |\n"
      "|---|---|---|---|---|---|\n";
  for (const MetricInfo* info : MetricCatalogue()) {
    page += fmt::format("| `{}` | {} | {} | {} | {} | {} |\n", info->name, TypeName(info->type), info->unit,
                        ProgramNames(info->programs), LabelTexts(*info), info->help);
  }
  return page;
}

}  // namespace marquee
