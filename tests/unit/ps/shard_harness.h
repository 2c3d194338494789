#ifndef MARQUEE_TESTS_UNIT_PS_SHARD_HARNESS_H_
#define MARQUEE_TESTS_UNIT_PS_SHARD_HARNESS_H_

// Builds requests and hands them to a Shard as a transport would.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/message.h"
#include "common/table.h"
#include "common/view.h"
#include "ps/shard.h"

namespace marquee {

inline constexpr uint64_t kClusterId = 0xc1;
inline constexpr uint64_t kTrial = 7;

// A table under SGD whose rows start at 0, unless changed.
TableDefinition SgdTable(TableNumber number, uint32_t dim, std::string name = "t7/users");

struct PushedSection {
  TableNumber table;
  uint32_t dim;
  std::vector<Id> ids;
  std::vector<float> gradients;
  float learning_rate = 1;
};

OutgoingMessagePtr MakeRequest(uint64_t view, const std::function<void(wire::Envelope::Body::Builder)>& fill_body);
OutgoingMessagePtr MakePull(uint64_t view, TableNumber table, uint32_t dim, const std::vector<Id>& ids);
OutgoingMessagePtr MakePush(uint64_t view, uint64_t session, uint64_t sequence, const std::vector<PushedSection>& sections);
OutgoingMessagePtr MakeInstallView(const View& view, ShardIndex you);
OutgoingMessagePtr MakeOpenSession(uint64_t session, uint64_t trial = kTrial);
OutgoingMessagePtr MakeCloseSession(uint64_t session);
OutgoingMessagePtr MakeCreateTables(const std::vector<TableDefinition>& definitions);
OutgoingMessagePtr MakeDropTables(const std::vector<TableNumber>& numbers);

// The reply of `shard`, which must send exactly one, to the sender, with the request's id.
Message Ask(Shard& shard, OutgoingMessagePtr request);

// "ok", "pushed", ..., or an error's code: "error staleView".
std::string Outcome(const Message& reply);
std::string AskOutcome(Shard& shard, OutgoingMessagePtr request);

// The rows of a reply's section; fails the test if there are none.
std::vector<float> RowsOf(const Message& reply, uint32_t section = 0);

// A shard that owns all partitions of view 1 and has an open session 1 of kTrial.
struct ReadyShard {
  explicit ReadyShard(const std::vector<TableDefinition>& tables, uint32_t partitions = 8, ShardOptions options = {});

  std::string Push(uint64_t sequence, const std::vector<PushedSection>& sections, uint64_t session = 1);
  std::vector<float> Pull(TableNumber table, uint32_t dim, const std::vector<Id>& ids);

  Shard shard;
};

}  // namespace marquee

#endif  // MARQUEE_TESTS_UNIT_PS_SHARD_HARNESS_H_
