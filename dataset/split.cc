#include "dataset/split.h"

#include <fmt/format.h>
#include <xxhash.h>

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

Part PartOf(uint64_t hash, const SplitConfig& config) {
  if (Uniform(hash) < config.test) return kTest;
  return Uniform(MixId(hash)) < config.validation ? kValidation : kTrain;
}

std::string NameOf(const SplitConfig& config) {
  return fmt::format("{} {:g}/{:g}, validation {:g}% of train, seed {}", config.name, 100 * (1 - config.test),
                     100 * config.test, 100 * config.validation, config.seed);
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

}  // namespace

absl::StatusOr<Split> MakeSplit(const Dataset& data, const SplitConfig& config) {
  if (absl::Status status = CheckShares(config); !status.ok()) return status;
  const std::vector<uint64_t> users = HashRows(data.user_key());
  const std::vector<uint64_t> items = HashRows(data.item_key());
  Split split;
  split.name = NameOf(config);
  for (uint32_t i = 0; i < data.interactions(); ++i) {
    const uint64_t user = users[data.user_of()[i]];
    const uint64_t item = items[data.item_of()[i]];
    const Part part = PartOf(HashOf(user, item, config.seed), config);
    split.checksum += HashOf(user, item, part);  // a sum does not depend on the order of the file
    (part == kTest ? split.test : part == kValidation ? split.validation : split.train).push_back(i);
  }
  if (split.train.empty() || split.test.empty()) {
    return absl::InvalidArgumentError(fmt::format("split '{}' of {} interactions leaves {} to train and {} to test", split.name,
                                                  data.interactions(), split.train.size(), split.test.size()));
  }
  if (absl::Status status = CheckDisjoint(data, split); !status.ok()) return status;
  return split;
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
