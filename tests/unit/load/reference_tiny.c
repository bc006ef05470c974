/* What transformers 5.23.0 writes for a tiny model of this architecture: Qwen3VLForConditionalGeneration with the
 * sizes below, in bfloat16, save_pretrained. The config is the file's text; names and shapes are those of the
 * safetensors header, in its order. */
#include "reference_tiny.h"

const char reference_tiny_config[] = "{\n"
                                     "  \"architectures\": [\n"
                                     "    \"Qwen3VLForConditionalGeneration\"\n"
                                     "  ],\n"
                                     "  \"dtype\": \"bfloat16\",\n"
                                     "  \"image_token_id\": 500,\n"
                                     "  \"model_type\": \"qwen3_vl\",\n"
                                     "  \"text_config\": {\n"
                                     "    \"attention_bias\": false,\n"
                                     "    \"attention_dropout\": 0.0,\n"
                                     "    \"head_dim\": 32,\n"
                                     "    \"hidden_act\": \"silu\",\n"
                                     "    \"hidden_size\": 64,\n"
                                     "    \"initializer_range\": 0.02,\n"
                                     "    \"intermediate_size\": 96,\n"
                                     "    \"max_position_embeddings\": 4096,\n"
                                     "    \"model_type\": \"qwen3_vl_text\",\n"
                                     "    \"num_attention_heads\": 4,\n"
                                     "    \"num_hidden_layers\": 2,\n"
                                     "    \"num_key_value_heads\": 2,\n"
                                     "    \"pad_token_id\": null,\n"
                                     "    \"rms_norm_eps\": 1e-06,\n"
                                     "    \"rope_parameters\": {\n"
                                     "      \"mrope_interleaved\": true,\n"
                                     "      \"mrope_section\": [\n"
                                     "        6,\n"
                                     "        5,\n"
                                     "        5\n"
                                     "      ],\n"
                                     "      \"rope_theta\": 5000000.0,\n"
                                     "      \"rope_type\": \"default\"\n"
                                     "    },\n"
                                     "    \"use_cache\": true,\n"
                                     "    \"vocab_size\": 512\n"
                                     "  },\n"
                                     "  \"tie_word_embeddings\": false,\n"
                                     "  \"transformers_version\": \"5.23.0\",\n"
                                     "  \"video_token_id\": 501,\n"
                                     "  \"vision_config\": {\n"
                                     "    \"deepstack_visual_indexes\": [\n"
                                     "      0,\n"
                                     "      2\n"
                                     "    ],\n"
                                     "    \"depth\": 3,\n"
                                     "    \"hidden_act\": \"gelu_pytorch_tanh\",\n"
                                     "    \"hidden_size\": 48,\n"
                                     "    \"in_channels\": 3,\n"
                                     "    \"initializer_range\": 0.02,\n"
                                     "    \"intermediate_size\": 80,\n"
                                     "    \"model_type\": \"qwen3_vl_vision\",\n"
                                     "    \"num_heads\": 4,\n"
                                     "    \"num_position_embeddings\": 16,\n"
                                     "    \"out_hidden_size\": 64,\n"
                                     "    \"patch_size\": 16,\n"
                                     "    \"rope_parameters\": {\n"
                                     "      \"rope_theta\": 10000.0,\n"
                                     "      \"rope_type\": \"axial\"\n"
                                     "    },\n"
                                     "    \"spatial_merge_size\": 2,\n"
                                     "    \"temporal_patch_size\": 2\n"
                                     "  },\n"
                                     "  \"vision_end_token_id\": 503,\n"
                                     "  \"vision_start_token_id\": 502\n"
                                     "}\n";

const struct reference_tensor reference_tiny_tensors[] = {
    {"lm_head.weight", 2, {512, 64}},
    {"model.language_model.embed_tokens.weight", 2, {512, 64}},
    {"model.language_model.layers.0.input_layernorm.weight", 1, {64}},
    {"model.language_model.layers.0.mlp.down_proj.weight", 2, {64, 96}},
    {"model.language_model.layers.0.mlp.gate_proj.weight", 2, {96, 64}},
    {"model.language_model.layers.0.mlp.up_proj.weight", 2, {96, 64}},
    {"model.language_model.layers.0.post_attention_layernorm.weight", 1, {64}},
    {"model.language_model.layers.0.self_attn.k_norm.weight", 1, {32}},
    {"model.language_model.layers.0.self_attn.k_proj.weight", 2, {64, 64}},
    {"model.language_model.layers.0.self_attn.o_proj.weight", 2, {64, 128}},
    {"model.language_model.layers.0.self_attn.q_norm.weight", 1, {32}},
    {"model.language_model.layers.0.self_attn.q_proj.weight", 2, {128, 64}},
    {"model.language_model.layers.0.self_attn.v_proj.weight", 2, {64, 64}},
    {"model.language_model.layers.1.input_layernorm.weight", 1, {64}},
    {"model.language_model.layers.1.mlp.down_proj.weight", 2, {64, 96}},
    {"model.language_model.layers.1.mlp.gate_proj.weight", 2, {96, 64}},
    {"model.language_model.layers.1.mlp.up_proj.weight", 2, {96, 64}},
    {"model.language_model.layers.1.post_attention_layernorm.weight", 1, {64}},
    {"model.language_model.layers.1.self_attn.k_norm.weight", 1, {32}},
    {"model.language_model.layers.1.self_attn.k_proj.weight", 2, {64, 64}},
    {"model.language_model.layers.1.self_attn.o_proj.weight", 2, {64, 128}},
    {"model.language_model.layers.1.self_attn.q_norm.weight", 1, {32}},
    {"model.language_model.layers.1.self_attn.q_proj.weight", 2, {128, 64}},
    {"model.language_model.layers.1.self_attn.v_proj.weight", 2, {64, 64}},
    {"model.language_model.norm.weight", 1, {64}},
    {"model.visual.blocks.0.attn.proj.bias", 1, {48}},
    {"model.visual.blocks.0.attn.proj.weight", 2, {48, 48}},
    {"model.visual.blocks.0.attn.qkv.bias", 1, {144}},
    {"model.visual.blocks.0.attn.qkv.weight", 2, {144, 48}},
    {"model.visual.blocks.0.mlp.linear_fc1.bias", 1, {80}},
    {"model.visual.blocks.0.mlp.linear_fc1.weight", 2, {80, 48}},
    {"model.visual.blocks.0.mlp.linear_fc2.bias", 1, {48}},
    {"model.visual.blocks.0.mlp.linear_fc2.weight", 2, {48, 80}},
    {"model.visual.blocks.0.norm1.bias", 1, {48}},
    {"model.visual.blocks.0.norm1.weight", 1, {48}},
    {"model.visual.blocks.0.norm2.bias", 1, {48}},
    {"model.visual.blocks.0.norm2.weight", 1, {48}},
    {"model.visual.blocks.1.attn.proj.bias", 1, {48}},
    {"model.visual.blocks.1.attn.proj.weight", 2, {48, 48}},
    {"model.visual.blocks.1.attn.qkv.bias", 1, {144}},
    {"model.visual.blocks.1.attn.qkv.weight", 2, {144, 48}},
    {"model.visual.blocks.1.mlp.linear_fc1.bias", 1, {80}},
    {"model.visual.blocks.1.mlp.linear_fc1.weight", 2, {80, 48}},
    {"model.visual.blocks.1.mlp.linear_fc2.bias", 1, {48}},
    {"model.visual.blocks.1.mlp.linear_fc2.weight", 2, {48, 80}},
    {"model.visual.blocks.1.norm1.bias", 1, {48}},
    {"model.visual.blocks.1.norm1.weight", 1, {48}},
    {"model.visual.blocks.1.norm2.bias", 1, {48}},
    {"model.visual.blocks.1.norm2.weight", 1, {48}},
    {"model.visual.blocks.2.attn.proj.bias", 1, {48}},
    {"model.visual.blocks.2.attn.proj.weight", 2, {48, 48}},
    {"model.visual.blocks.2.attn.qkv.bias", 1, {144}},
    {"model.visual.blocks.2.attn.qkv.weight", 2, {144, 48}},
    {"model.visual.blocks.2.mlp.linear_fc1.bias", 1, {80}},
    {"model.visual.blocks.2.mlp.linear_fc1.weight", 2, {80, 48}},
    {"model.visual.blocks.2.mlp.linear_fc2.bias", 1, {48}},
    {"model.visual.blocks.2.mlp.linear_fc2.weight", 2, {48, 80}},
    {"model.visual.blocks.2.norm1.bias", 1, {48}},
    {"model.visual.blocks.2.norm1.weight", 1, {48}},
    {"model.visual.blocks.2.norm2.bias", 1, {48}},
    {"model.visual.blocks.2.norm2.weight", 1, {48}},
    {"model.visual.deepstack_merger_list.0.linear_fc1.bias", 1, {192}},
    {"model.visual.deepstack_merger_list.0.linear_fc1.weight", 2, {192, 192}},
    {"model.visual.deepstack_merger_list.0.linear_fc2.bias", 1, {64}},
    {"model.visual.deepstack_merger_list.0.linear_fc2.weight", 2, {64, 192}},
    {"model.visual.deepstack_merger_list.0.norm.bias", 1, {192}},
    {"model.visual.deepstack_merger_list.0.norm.weight", 1, {192}},
    {"model.visual.deepstack_merger_list.1.linear_fc1.bias", 1, {192}},
    {"model.visual.deepstack_merger_list.1.linear_fc1.weight", 2, {192, 192}},
    {"model.visual.deepstack_merger_list.1.linear_fc2.bias", 1, {64}},
    {"model.visual.deepstack_merger_list.1.linear_fc2.weight", 2, {64, 192}},
    {"model.visual.deepstack_merger_list.1.norm.bias", 1, {192}},
    {"model.visual.deepstack_merger_list.1.norm.weight", 1, {192}},
    {"model.visual.merger.linear_fc1.bias", 1, {192}},
    {"model.visual.merger.linear_fc1.weight", 2, {192, 192}},
    {"model.visual.merger.linear_fc2.bias", 1, {64}},
    {"model.visual.merger.linear_fc2.weight", 2, {64, 192}},
    {"model.visual.merger.norm.bias", 1, {48}},
    {"model.visual.merger.norm.weight", 1, {48}},
    {"model.visual.patch_embed.proj.bias", 1, {48}},
    {"model.visual.patch_embed.proj.weight", 5, {48, 3, 2, 16, 16}},
    {"model.visual.pos_embed.weight", 2, {16, 48}},
};

const size_t n_reference_tiny_tensor = sizeof reference_tiny_tensors / sizeof *reference_tiny_tensors;
