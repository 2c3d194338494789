#ifndef MARQUEE_TESTS_FUZZ_MUTATOR_H_
#define MARQUEE_TESTS_FUZZ_MUTATOR_H_

// Makes wrong messages out of right ones: fields set to values that no sender would choose (the schema itself says which fields
// there are), and bytes spoilt without regard to any meaning. All chance comes from one generator, so that a seed is a run.

#include <capnp/dynamic.h>

#include <string>
#include <vector>

#include "common/message.h"
#include "tests/simulation/random.h"

namespace marquee::fuzz {

using Frames = std::vector<std::string>;  // of one message, as it is on the wire

Frames FramesOf(OutgoingMessage& message);

class Mutator {
 public:
  explicit Mutator(simulation::Random& random) : random_(random) {}

  Frames Mutate(const Frames& valid);

 private:
  Frames MutateFields(const Frames& valid);
  void MutateBytes(Frames& frames);
  void MutateStruct(capnp::DynamicStruct::Builder builder);
  void MutateField(capnp::DynamicStruct::Builder builder, capnp::StructSchema::Field field);
  void MutateList(capnp::DynamicStruct::Builder builder, capnp::StructSchema::Field field);
  std::string MutatedBytes(std::string bytes);
  capnp::DynamicValue::Reader AnyPrimitive(capnp::Type type);
  uint64_t AnyInteger();
  double AnyFloat();
  std::string AnyText();

  simulation::Random& random_;
};

}  // namespace marquee::fuzz

#endif  // MARQUEE_TESTS_FUZZ_MUTATOR_H_
