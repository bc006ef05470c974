#!/usr/bin/env bash
# Puts torchcodec into a folder so that it loads without a GPU. usage: reference/torchcodec.sh FOLDER PYTHON
#
# The wheel is linked to CUDA: its run time library comes from its own wheel, the others are empty stand-ins, which
# decoding on the processor never calls. FFmpeg is the system's (versions 4 to 9 will do; the vectors are of 5).
# Afterwards: PYTHONPATH=FOLDER/lib LD_LIBRARY_PATH=FOLDER/so
set -euo pipefail
folder=$1 python=$2
[ -e "$folder/complete" ] && exit 0
mkdir -p "$folder/so"
"$python" -m pip install --quiet --no-deps --target "$folder/lib" torchcodec==0.17.0 nvidia-cuda-runtime==13.0.96
find "$folder/lib" -name 'libcudart.so.13' -exec cp {} "$folder/so" \;
for name in libnvrtc.so.13 libc10_cuda.so; do
    "${CC:-cc}" -shared -o "$folder/so/$name" -Wl,-soname,"$name" -x c /dev/null
done
printf 'int %s(void) { return 1; }\n' aoti_torch_get_current_cuda_stream aoti_torch_device_type_cuda |
    "${CC:-cc}" -shared -fPIC -o "$folder/so/libtorch_cuda.so" -Wl,-soname,libtorch_cuda.so -x c -
touch "$folder/complete"
