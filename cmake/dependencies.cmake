# Everything here is a Debian package of tools/packages.txt. Headers of others are SYSTEM: their warnings are not ours.
find_package(Threads REQUIRED)
find_package(CapnProto REQUIRED)
find_package(absl REQUIRED)
find_package(Eigen3 REQUIRED NO_MODULE)
find_package(yaml-cpp REQUIRED)
find_package(CLI11 REQUIRED)
find_package(spdlog REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(prometheus-cpp REQUIRED)
find_package(GTest REQUIRED)
find_package(benchmark REQUIRED)
find_package(SQLite3 REQUIRED)
# Not by pkg_check_modules: libzmq's flags have an -isystem, which CMake 3.25 puts elsewhere when it configures again, and all compiles anew.
find_package(cppzmq REQUIRED)

find_package(PkgConfig REQUIRED)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(zstd REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(httplib REQUIRED IMPORTED_TARGET cpp-httplib)

if(MARQUEE_WITH_TORCH)
  # Debian's LibTorch 1.13 and current 2.x builds (CMAKE_PREFIX_PATH) both come as a package of this name.
  find_package(Torch REQUIRED)
endif()
