# Flags for every target of the project.
add_compile_options(-Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wconversion -Wno-sign-conversion -Werror)
add_compile_options($<$<CONFIG:Release>:-O3>)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64")
  # AVX2 and FMA: every x86 server of the last decade; LibTorch and OpenBLAS choose for themselves.
  add_compile_options(-march=x86-64-v3)
endif()
if(MARQUEE_SANITIZE)
  add_compile_options(-fsanitize=${MARQUEE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${MARQUEE_SANITIZE})
endif()
add_link_options(-fuse-ld=lld)
include_directories(${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
