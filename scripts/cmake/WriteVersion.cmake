# SPDX-License-Identifier: Apache-2.0
# cmake -D SOURCE=... -D VERSION=... -D TEMPLATE=... -D OUTPUT=... -P WriteVersion.cmake
# Runs at every build, so that the binary knows the commit it was built from; touches the header only when it changed.
# Where the sources come without their history (the image), CULVERT_COMMIT in the environment says it.
set(CULVERT_COMMIT "$ENV{CULVERT_COMMIT}")
if(NOT CULVERT_COMMIT)
  execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude=*
      OUTPUT_VARIABLE CULVERT_COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(failed OR NOT CULVERT_COMMIT)
    set(CULVERT_COMMIT "unknown")
  endif()
endif()
set(CULVERT_VERSION ${VERSION})
configure_file(${TEMPLATE} ${OUTPUT} @ONLY)
