#include "dataset/split.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>

#include "common/id.h"

namespace marquee {
namespace {

enum Part : uint8_t { kNone, kTrain, kValidation, kTest };

// The hash of each value's text, and not of its code: codes follow the order of the file.
std::vector<uint64_t> HashRows(const Column& key) {
  std::vector<uint64_t> hashes(key.size());
  for (size_t row = 0; row < key.size(); ++row) {
    const std::string_view value = key.code(row) == kNullCode ? std::string_view() : key.value(key.code(row));
    hashes[row] = XXH3_64bits(value.data(), value.size());
  }
  return hashes;
}

uint64_t HashOf(uint64_t user, uint64_t item, uint64_t seed) {
  const uint64_t words[] = {user, item, seed};
  return XXH3_64bits(words, sizeof(words));
}

// Uniform in [0, 1) from the hash's high bits.
double Uniform(uint64_t hash) { return static_cast<double>(hash >> 11U) * 0x1.0p-53; }

// What every protocol's rule is given.
struct Keys {
  explicit Keys(const Dataset& data) : users(HashRows(data.user_key())), items(HashRows(data.item_key())) {}

  std::vector<uint64_t> users;  // hashes
  std::vector<uint64_t> items;
};

uint64_t HashOf(const Dataset& data, const Keys& keys, uint32_t interaction, uint64_t seed) {
  return HashOf(keys.users[data.user_of()[interaction]], keys.items[data.item_of()[interaction]], seed);
}

std::vector<Part> PartsByHash(const Dataset& data, const Keys& keys, const SplitConfig& config) {
  std::vector<Part> parts(data.interactions(), kNone);
  for (uint32_t i = 0; i < parts.size(); ++i) {
    if (config.protocol == SplitConfig::Protocol::kBinarized && data.label()[i] == Split::kNeutralRating) continue;
    const uint64_t hash = HashOf(data, keys, i, config.seed);
    if (Uniform(hash) < config.test) {
      parts[i] = kTest;
    } else {
      parts[i] = Uniform(MixId(hash)) < config.validation ? kValidation : kTrain;
    }
  }
  return parts;
}

absl::StatusOr<const Column*> TimesOf(const Dataset& data, const std::string& name) {
  const Column* column = data.column(name);
  if (column == nullptr || column->level() != Column::Level::kInteraction || column->type() != Column::Type::kNumber) {
    return absl::InvalidArgumentError(
        fmt::format("split.time_column: {}; must be a column of numbers or times that belongs to interactions", name));
  }
  size_t nulls = 0;
  for (size_t i = 0; i < column->size(); ++i) nulls += column->is_null(i) ? 1 : 0;
  if (nulls == 0) return column;
  return absl::InvalidArgumentError(
      fmt::format("split.time_column: {} is null for {} of {} interactions; a split by time needs the time of each", name,
                  nulls, column->size()));
}

absl::StatusOr<Timelines> MakeTimelines(const Dataset& data, const Keys& keys, const SplitConfig& config) {
  const absl::StatusOr<const Column*> times = TimesOf(data, config.time_column);
  if (!times.ok()) return times.status();
  std::vector<uint64_t> hashes(data.interactions());
  for (uint32_t i = 0; i < hashes.size(); ++i) hashes[i] = HashOf(data, keys, i, config.seed);
  Timelines timelines;
  timelines.offsets.assign(data.users() + 1, 0);
  for (const uint32_t user : data.user_of()) ++timelines.offsets[user + 1];
  std::partial_sum(timelines.offsets.begin(), timelines.offsets.end(), timelines.offsets.begin());
  timelines.interactions.resize(data.interactions());
  std::iota(timelines.interactions.begin(), timelines.interactions.end(), 0U);
  std::sort(timelines.interactions.begin(), timelines.interactions.end(), [&](uint32_t a, uint32_t b) {
    return std::tuple(data.user_of()[a], (*times)->number(a), hashes[a], a) <
           std::tuple(data.user_of()[b], (*times)->number(b), hashes[b], b);
  });
  return timelines;
}

absl::StatusOr<std::vector<Part>> PartsOfLastOut(const Dataset& data, const Keys& keys, const SplitConfig& config) {
  constexpr size_t kFewest = 3;  // one for each part; who has fewer trains only
  const absl::StatusOr<Timelines> timelines = MakeTimelines(data, keys, config);
  if (!timelines.ok()) return timelines.status();
  std::vector<Part> parts(data.interactions(), kTrain);
  for (uint32_t user = 0; user < data.users(); ++user) {
    const absl::Span<const uint32_t> own = timelines->Of(user);
    if (own.size() < kFewest) continue;
    parts[own[own.size() - 1]] = kTest;
    parts[own[own.size() - 2]] = kValidation;
  }
  return parts;
}

// The time from which on the latest `share` of the first `count` of `times` lie; those of that very time are among them.
double CutOf(const std::vector<double>& times, size_t count, double share) {
  const auto first = static_cast<size_t>(std::llround(static_cast<double>(count) * (1 - share)));
  return first < count ? times[first] : std::numeric_limits<double>::infinity();
}

absl::StatusOr<std::vector<Part>> PartsByTime(const Dataset& data, const SplitConfig& config) {
  const absl::StatusOr<const Column*> times = TimesOf(data, config.time_column);
  if (!times.ok()) return times.status();
  std::vector<double> sorted(data.interactions());
  for (size_t i = 0; i < sorted.size(); ++i) sorted[i] = (*times)->number(i);
  std::sort(sorted.begin(), sorted.end());
  const double test = CutOf(sorted, sorted.size(), config.test);
  const auto left = static_cast<size_t>(std::lower_bound(sorted.begin(), sorted.end(), test) - sorted.begin());
  const double validation = CutOf(sorted, left, config.validation);
  std::vector<Part> parts(data.interactions(), kTrain);
  for (uint32_t i = 0; i < parts.size(); ++i) {
    const double time = (*times)->number(i);
    if (time >= test) {
      parts[i] = kTest;
    } else if (time >= validation) {
      parts[i] = kValidation;
    }
  }
  return parts;
}

absl::StatusOr<std::vector<Part>> PartsOf(const Dataset& data, const Keys& keys, const SplitConfig& config) {
  switch (config.protocol) {
    case SplitConfig::Protocol::kLeaveLastOut:
      return PartsOfLastOut(data, keys, config);
    case SplitConfig::Protocol::kTime:
      return PartsByTime(data, config);
    case SplitConfig::Protocol::kRandom:
    case SplitConfig::Protocol::kBinarized:
      break;
  }
  return PartsByHash(data, keys, config);
}

// "80/10/10"
std::string SharesOf(const SplitConfig& config) {
  const double left = 1 - config.test;
  return fmt::format("{:g}/{:g}/{:g}", 100 * left * (1 - config.validation), 100 * left * config.validation, 100 * config.test);
}

std::string NameOf(const SplitConfig& config) {
  const std::string_view both =
      config.train_on == SplitConfig::TrainOn::kTrainAndValidation ? ", validation trained on too" : "";
  switch (config.protocol) {
    case SplitConfig::Protocol::kBinarized:
      return fmt::format("binarized {}, seed {}{}", SharesOf(config), config.seed, both);
    case SplitConfig::Protocol::kLeaveLastOut:
      return fmt::format("leave last out, seed {}{}", config.seed, both);
    case SplitConfig::Protocol::kTime:
      return fmt::format("time {}{}", SharesOf(config), both);
    case SplitConfig::Protocol::kRandom:
      break;
  }
  return fmt::format("random {:g}/{:g}, validation {:g}% of train, seed {}{}", 100 * (1 - config.test), 100 * config.test,
                     100 * config.validation, config.seed, both);
}

absl::Status CheckShares(const SplitConfig& config) {
  if (!(config.test >= 0 && config.test < 1)) {
    return absl::InvalidArgumentError(fmt::format("split.test: {}; must be at least 0 and below 1", config.test));
  }
  if (!(config.validation >= 0 && config.validation < 1)) {
    return absl::InvalidArgumentError(fmt::format("split.validation: {}; must be at least 0 and below 1", config.validation));
  }
  return absl::OkStatus();
}

absl::Status CheckParts(const Dataset& data, const Split& split) {
  if (split.train.empty() || split.test.empty()) {
    return absl::InvalidArgumentError(fmt::format("split '{}' of {} interactions leaves {} to train and {} to test", split.name,
                                                  data.interactions(), split.train.size(), split.test.size()));
  }
  if (split.binary()) {
    const auto positives =
        std::count_if(split.train.begin(), split.train.end(), [&](uint32_t i) { return split.LabelOf(data, i) > 0; });
    if (positives == 0 || static_cast<size_t>(positives) == split.train.size()) {
      return absl::InvalidArgumentError(
          fmt::format("split '{}': {} of {} training labels are above {}; both classes are needed", split.name, positives,
                      split.train.size(), Split::kNeutralRating));
    }
  }
  absl::Status status = CheckDisjoint(data, split);
  if (status.ok() || !split.chronological()) return status;
  return absl::Status(status.code(), fmt::format("{}; a split by time takes data in which no user has an item twice",
                                                 std::string(status.message())));
}

}  // namespace

absl::StatusOr<Split> MakeSplit(const Dataset& data, const SplitConfig& config) {
  if (absl::Status status = CheckShares(config); !status.ok()) return status;
  const Keys keys(data);
  const absl::StatusOr<std::vector<Part>> parts = PartsOf(data, keys, config);
  if (!parts.ok()) return parts.status();
  Split split;
  split.name = NameOf(config);
  split.protocol = config.protocol;
  for (uint32_t i = 0; i < data.interactions(); ++i) {
    Part part = (*parts)[i];
    if (part == kNone) continue;
    if (part == kValidation && config.train_on == SplitConfig::TrainOn::kTrainAndValidation) part = kTrain;
    split.checksum += HashOf(data, keys, i, part);  // a sum does not depend on the order of the file
    (part == kTest ? split.test : part == kValidation ? split.validation : split.train).push_back(i);
  }
  if (absl::Status status = CheckParts(data, split); !status.ok()) return status;
  return split;
}

absl::StatusOr<Timelines> MakeTimelines(const Dataset& data, const SplitConfig& config) {
  return MakeTimelines(data, Keys(data), config);
}

absl::Status CheckDisjoint(const Dataset& data, const Split& split) {
  std::vector<uint8_t> part_of(data.interactions(), kNone);
  const auto mark = [&](const std::vector<uint32_t>& interactions, Part part) -> absl::Status {
    for (const uint32_t i : interactions) {
      if (i >= part_of.size() || part_of[i] != kNone) {
        return absl::InternalError(
            fmt::format("split '{}': interaction {} is in two parts, or none of the data's", split.name, i));
      }
      part_of[i] = part;
    }
    return absl::OkStatus();
  };
  if (absl::Status status = mark(split.train, kTrain); !status.ok()) return status;
  if (absl::Status status = mark(split.validation, kValidation); !status.ok()) return status;
  if (absl::Status status = mark(split.test, kTest); !status.ok()) return status;

  // The interactions of each user side by side, so that one array over items can tell a pair that comes twice.
  std::vector<uint32_t> begin(data.users() + 1, 0);
  for (const uint32_t user : data.user_of()) ++begin[user + 1];
  for (size_t user = 0; user < data.users(); ++user) begin[user + 1] += begin[user];
  std::vector<uint32_t> by_user(data.interactions());
  std::vector<uint32_t> next(begin.begin(), begin.end() - 1);
  for (uint32_t i = 0; i < data.interactions(); ++i) by_user[next[data.user_of()[i]]++] = i;

  std::vector<uint32_t> last_user(data.items(), kNullCode);
  std::vector<uint8_t> last_part(data.items(), kNone);
  for (const uint32_t i : by_user) {
    if (part_of[i] == kNone) continue;
    const uint32_t user = data.user_of()[i];
    const uint32_t item = data.item_of()[i];
    if (last_user[item] == user && last_part[item] != part_of[i]) {
      const Column& users = data.user_key();
      const Column& items = data.item_key();
      return absl::FailedPreconditionError(fmt::format("split '{}': user {} and item {} are in two parts", split.name,
                                                       users.value(users.code(user)), items.value(items.code(item))));
    }
    last_user[item] = user;
    last_part[item] = part_of[i];
  }
  return absl::OkStatus();
}

}  // namespace marquee
