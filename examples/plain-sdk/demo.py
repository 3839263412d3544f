from openai import OpenAI

client = OpenAI()
ask = [{"role": "user", "content": "What is a load line on a ship?"}]

answer = client.chat.completions.create(model="gpt-4o-mini", messages=ask)
print(answer.choices[0].message.content)

for chunk in client.chat.completions.create(model="gpt-4o-mini", messages=ask, stream=True):
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
