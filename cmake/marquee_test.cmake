# Half of a test's compilation is reading these: they are read once for all tests. Optimized little, as unit tests are: what they test
# is built as it ships.
add_library(marquee_test_main STATIC ${CMAKE_SOURCE_DIR}/tests/unit/main.cc)
target_link_libraries(marquee_test_main PUBLIC GTest::gmock GTest::gtest absl::status absl::statusor absl::time fmt::fmt CapnProto::capnp)
target_compile_options(marquee_test_main PRIVATE -O1)
target_precompile_headers(marquee_test_main PRIVATE <gmock/gmock.h> <gtest/gtest.h> <capnp/message.h> <capnp/serialize.h>
  <fmt/format.h> <absl/status/statusor.h> <absl/time/time.h> <filesystem> <functional> <map> <memory> <optional> <set> <string> <vector>)

# marquee_test(NAME unit_common_id SOURCES id_test.cc LIBRARIES marquee_common [LABEL unit] [TIMEOUT 60])
# One GoogleTest program, one ctest entry. Labels order the run: unit, simulation, cluster, end_to_end.
function(marquee_test)
  cmake_parse_arguments(T "" "NAME;LABEL;TIMEOUT" "SOURCES;LIBRARIES" ${ARGN})
  if(NOT T_LABEL)
    set(T_LABEL unit)
  endif()
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 300)
  endif()
  if(MARQUEE_SANITIZE)
    math(EXPR T_TIMEOUT "${T_TIMEOUT} * 3")  # a time-out ends a hang; a sanitizer on a busy machine is only slow
  endif()
  add_executable(${T_NAME} ${T_SOURCES})
  set_target_properties(${T_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_link_libraries(${T_NAME} PRIVATE ${T_LIBRARIES} GTest::gmock GTest::gtest marquee_test_main)
  if(T_LABEL STREQUAL unit AND NOT T_LIBRARIES MATCHES "marquee_(models|worker|serving)")  # LibTorch has flags of its own
    target_compile_options(${T_NAME} PRIVATE -O1)
    target_precompile_headers(${T_NAME} REUSE_FROM marquee_test_main)
  endif()
  add_test(NAME ${T_NAME} COMMAND ${T_NAME})
  set_tests_properties(${T_NAME} PROPERTIES LABELS ${T_LABEL} TIMEOUT ${T_TIMEOUT}
    ENVIRONMENT "MARQUEE_DATA=$ENV{MARQUEE_DATA};MARQUEE_BIN=${CMAKE_BINARY_DIR}/bin;MARQUEE_SOURCE=${CMAKE_SOURCE_DIR};OMP_NUM_THREADS=1;OPENBLAS_NUM_THREADS=1;TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/tsan.supp")
endfunction()
