#include "common/peer_role.h"

#include <capnp/dynamic.h>
#include <capnp/message.h>
#include <gtest/gtest.h>

#include <string_view>

namespace marquee {
namespace {

constexpr PeerRole kAll[] = {PeerRole::kScheduler, PeerRole::kServer, PeerRole::kWorker, PeerRole::kTool};

TEST(PeerRole, NamesAreTheirOwn) {
  for (const PeerRole role : kAll) EXPECT_EQ(PeerRoleNamed(PeerRoleName(role)), role);
  EXPECT_FALSE(PeerRoleNamed("unknown").has_value());
  EXPECT_FALSE(PeerRoleNamed("cluster").has_value());
}

// Nothing that changes a shard or a trial may be asked by more than one role, and by a tool never: also not a body that is
// added to the schema later.
TEST(PeerRole, WhatChangesSomethingIsOneRolesAlone) {
  const capnp::StructSchema body = capnp::Schema::from<wire::Envelope::Body>();
  const auto looks = [](std::string_view name) {
    return name == "pull" || name == "describeTables" || name == "getStatistics" || name == "scanTable" || name == "getView" ||
           name == "heartbeat";
  };
  const auto answers = [](std::string_view name) {
    return name == "error" || name == "ok" || name == "rows" || name == "pushed" || name == "tables" || name == "statistics" ||
           name == "registered" || name == "heartbeatReply" || name == "view" || name == "assignment" || name == "work" ||
           name == "clocks" || name == "scannedRows" || name == "forwarded" || name == "fills" || name == "checkpointFile" ||
           name == "partitions";
  };
  for (const auto field : body.getUnionFields()) {
    const std::string_view name = field.getProto().getName().cStr();
    capnp::MallocMessageBuilder builder;
    auto envelope = builder.initRoot<wire::Envelope>();
    capnp::DynamicStruct::Builder dynamic = capnp::toDynamic(envelope.getBody());
    if (field.getType().isVoid()) {
      dynamic.set(field, capnp::VOID);
    } else if (field.getType().isUInt64()) {
      dynamic.set(field, 1U);
    } else {
      dynamic.init(field);
    }
    int allowed = 0;
    for (const PeerRole role : kAll) allowed += MayAsk(role, envelope.asReader()) ? 1 : 0;
    EXPECT_TRUE(MayAsk(PeerRole::kUnknown, envelope.asReader())) << name;
    if (answers(name) || looks(name)) continue;
    EXPECT_EQ(allowed, 1) << name;
    EXPECT_FALSE(MayAsk(PeerRole::kTool, envelope.asReader())) << name;
  }
}

}  // namespace
}  // namespace marquee
