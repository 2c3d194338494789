// Of every GoogleTest program. Its precompiled headers are theirs as well (cmake/marquee_test.cmake).

#include <gmock/gmock.h>

int main(int argc, char** argv) {
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
