# One interface target with the flags that every target of ours is built with.
add_library(vattn_flags INTERFACE)
target_compile_options(vattn_flags INTERFACE
  -ffp-contract=off -fno-math-errno
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef)
target_compile_definitions(vattn_flags INTERFACE _GNU_SOURCE)
if(VATTN_WERROR)
  target_compile_options(vattn_flags INTERFACE -Werror)
endif()
if(VATTN_ASSERT)
  target_compile_options(vattn_flags INTERFACE -UNDEBUG)
endif()
if(VATTN_SANITIZE)
  target_compile_options(vattn_flags INTERFACE -fsanitize=${VATTN_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(vattn_flags INTERFACE -fsanitize=${VATTN_SANITIZE})
endif()
